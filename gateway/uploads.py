"""Writing: a request that carries a key becomes content that its owner keeps."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from urllib.parse import quote, unquote

from aiohttp import hdrs, web

from auth.errors import Unauthenticated
from auth.middleware import identity_of
from gateway.api.answers import receipt_json, timestamp
from gateway.context import GATEWAY, Gateway
from gateway.headers import content_disposition_name
from gateway.refusals import BadRequest, Conflict, NotKept, UnsupportedMediaType
from gateway.request import parse_parameters, target_of
from gateway.retention import lifetime_of
from gateway.upload_body import read_body
from gateway.upload_car import CAR, add_car
from gateway.upload_form import read_form
from gateway.upload_refusals import log_refusal
from gateway.upload_tar import TAR, add_tar
from ipld.cid import RAW, Cid, codec_code
from ipld.errors import InvalidCid, WrongKind
from ipld.paths import ContentPath
from ipld.unixfs.profiles import PROFILES
from storage.content import Added, CidMismatch, Owned
from storage.ownership import MAX_NAME_CHARACTERS

_FORM = "multipart/form-data"
_RAW_BLOCK = "application/vnd.ipld.raw"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def writing(handler: Answer) -> Answer:
    """What every write has in common: a place among the uploads, and errors of its own."""

    async def write(request: web.Request) -> web.StreamResponse:
        gateway = request.app[GATEWAY]
        try:
            with gateway.traffic.upload():
                response = await handler(request)
        except (CidMismatch, WrongKind) as error:
            gateway.metrics.uploads.labels("refused").inc()
            log_refusal(request, Conflict(str(error)))
            raise Conflict(str(error)) from error
        except BaseException as error:
            gateway.metrics.uploads.labels("failed").inc()
            log_refusal(request, error)
            raise
        gateway.metrics.uploads.labels("done").inc()
        return response

    return write


@writing
async def post_content(request: web.Request) -> web.StreamResponse:
    """`POST /ipfs/`: a file, a form's files, a CAR, a TAR, or one block."""
    return await _add(request, name=None)


@writing
async def put_content(request: web.Request) -> web.StreamResponse:
    """`PUT /ipfs/<name>`, `PUT /ipfs/<cid>` and `PUT /ipfs/<root>/<path>`."""
    target, _ = target_of(request)
    first, _, rest = target.removeprefix("/ipfs/").partition("/")
    if rest.strip("/"):
        return await _put_path(request, ContentPath.parse(target))
    name = _file_name(first)
    try:
        cid = Cid.parse(name)
    except InvalidCid:
        return await _add(request, name=name)
    return await _put_exactly(request, cid)


@writing
async def delete_content(request: web.Request) -> web.StreamResponse:
    """`DELETE /ipfs/<cid>` lets go; `DELETE /ipfs/<root>/<path>` makes a root without that entry."""
    gateway = request.app[GATEWAY]
    path = ContentPath.parse(target_of(request)[0])
    owned = _owned(request, gateway, None)
    if path.segments:
        added = await gateway.content.remove(path.cid, path.segments, owned)
        return _created(added, f"/ipfs/{added.cid}/")
    if not await gateway.content.release(owned.owner, path.cid, owned.client):
        raise NotKept(f"your key does not keep {path.cid}")
    await gateway.forget()
    return web.Response(status=204)


async def _put_path(request: web.Request, path: ContentPath) -> web.Response:
    gateway = request.app[GATEWAY]
    if not all(map(_is_utf8, path.segments)):
        raise BadRequest("the file name is not UTF-8")
    owned = _owned(request, gateway, path.segments[-1])
    added = await gateway.content.put(path.cid, path.segments, read_body(request), owned)
    inside = ContentPath("ipfs", str(added.cid), path.segments)
    return _created(added, inside.encoded())


async def _add(request: web.Request, name: str | None) -> web.Response:
    gateway = request.app[GATEWAY]
    owned = _owned(request, gateway, name)
    if request.content_type == _RAW_BLOCK:
        return await _add_block(request, gateway, owned)
    if request.content_type == CAR:
        added = await add_car(request, gateway, owned)
    elif request.content_type == TAR:
        added = await add_tar(request, gateway, owned)
    elif request.content_type == _FORM:
        entries = read_form(request)
        added = await gateway.content.add_tree(entries, owned, lone_file=True)
    else:
        added = await gateway.content.add_file(read_body(request), owned)
    return _created(added, _location(added))


async def _put_exactly(request: web.Request, cid: Cid) -> web.Response:
    gateway = request.app[GATEWAY]
    owned = _owned(request, gateway, None)
    if request.content_type == TAR:
        raise UnsupportedMediaType("a TAR is no CID's content: send it with POST")
    if request.content_type == CAR:
        return _created(await add_car(request, gateway, owned, cid), f"/ipfs/{cid}")
    added = await gateway.content.add_exactly(cid, read_body(request), owned)
    return _created(added, f"/ipfs/{added.cid}")


async def _add_block(request: web.Request, gateway: Gateway, owned: Owned) -> web.Response:
    codec = _parameters(request).get("cid-codec", "raw")
    try:
        code = RAW if codec == "raw" else codec_code(codec)
    except InvalidCid as error:
        raise BadRequest(f"cid-codec: {error}") from error
    added = await gateway.content.add_raw(read_body(request), code, owned)
    return _created(added, f"/ipfs/{added.cid}?format=raw")


def _file_name(raw: str) -> str:
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest("the file name is not UTF-8") from error


def _is_utf8(name: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _parameters(request: web.Request) -> dict[str, str]:
    return parse_parameters(target_of(request)[1])


def _owned(request: web.Request, gateway: Gateway, name: str | None) -> Owned:
    key = identity_of(request).key
    if key is None:
        raise Unauthenticated("UNAUTHORIZED", "This needs an API key: send `Authorization: Bearer <key>`.")
    parameters = _parameters(request)
    disposition = request.headers.get(hdrs.CONTENT_DISPOSITION)
    name = name or parameters.get("filename") or content_disposition_name(disposition) or ""
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadRequest(f"a name has at most {MAX_NAME_CHARACTERS} characters")
    profile = parameters.get("profile")
    if profile is not None and profile not in PROFILES:
        raise BadRequest(f"profile is one of {', '.join(PROFILES)}")
    return Owned(
        key.id,
        name,
        PROFILES[profile] if profile else gateway.profile,
        lifetime_of(parameters, key, gateway.temporary_seconds),
        gateway.proxies.client(request),
    )


def _location(added: Added) -> str:
    if added.is_directory:
        return f"/ipfs/{added.cid}/"
    # The name is not part of the content; with it the link opens with the right type.
    return f"/ipfs/{added.cid}" + (f"?filename={quote(added.name, safe='')}" if added.name else "")


def _created(added: Added, location: str) -> web.Response:
    body = {
        "cid": str(added.cid),
        "size": added.size,
        "name": added.name,
        "profile": added.profile,
        "path": location.partition("?")[0],
        "id": None if added.file_id is None else str(added.file_id),
        "expires_at": timestamp(added.expires_at),
        **receipt_json(added.receipt),
    }
    headers = {
        hdrs.LOCATION: location,
        hdrs.CONTENT_LOCATION: location,
        hdrs.ETAG: f'"{added.cid}"',
        "IPFS-Hash": str(added.cid),
        "X-Ipfs-Roots": ",".join(str(root) for root in (added.cid, *added.more)),
        "X-Ipfs-Path": location.partition("?")[0],
        hdrs.CONTENT_TYPE: "application/json; charset=utf-8",
    }
    return web.Response(status=201, headers=headers, body=json.dumps(body).encode() + b"\n")
