"""`/api/v1/uploads`: uploads straight into the bucket; and addresses to download from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from uuid import UUID

from aiohttp import hdrs, web

from auth.keys import ApiKey, Scope
from auth.middleware import require
from gateway.api.answers import answer, file_json, receipt_json, timestamp
from gateway.api.files import own_file
from gateway.context import GATEWAY, Gateway
from gateway.headers import content_disposition
from gateway.refusals import (
    BadRequest,
    Conflict,
    Gone,
    HoursOutOfRange,
    NotSupported,
    PayloadTooLarge,
    UploadNotFound,
)
from gateway.request import parse_parameters, target_of
from gateway.retention import lifetime_of
from gateway.routing_api import read_bounded
from gateway.upload_body import check_still_allowed
from gateway.upload_refusals import logged
from ipld.unixfs.profiles import PROFILES
from storage.content import Owned
from storage.direct_uploads import LONGEST_ADDRESS, MAX_SIZE, DirectUploads, NotUploaded, WantedUpload
from storage.objects import NO_RECEIPT, Receipt
from storage.ownership import MAX_NAME_CHARACTERS

MIN_HOURS, MAX_HOURS, DEFAULT_HOURS = 1, LONGEST_ADDRESS // 3600, 24
MAX_BODY_BYTES = 64 * 1024
# What the usual file systems take for a name.
MAX_NAME_BYTES, MAX_SUFFIX_CHARACTERS = 255, 16
# RFC 9110 section 8.3.1, without parameters.
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,63}/[!#$%&'*+.^_`|~0-9A-Za-z-]{1,63}")
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "size": int,
    "hours": int,
    "content_type": str,
    "expires_in": (str, int),
    "temporary": bool,
    "profile": str,
}

_Fields = Mapping[str, str | int | bool]


@logged
async def presign_upload(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/uploads/presign`: an address to PUT a file to, without passing through here."""
    gateway = request.app[GATEWAY]
    key = await require(gateway.keys, request, Scope.UPLOAD)
    direct = direct_of(gateway)
    fields = fields_of(await read_bounded(request, MAX_BODY_BYTES), _FIELDS)
    hours = _hours(fields.get("hours", DEFAULT_HOURS))
    wanted = _wanted(fields, key, gateway)
    upload, address = await direct.begin(wanted, hours * 3600)
    headers = {hdrs.CONTENT_LENGTH: str(wanted.size)}
    if wanted.content_type is not None:
        headers[hdrs.CONTENT_TYPE] = wanted.content_type
    body = {"id": str(upload.id), "method": "PUT", "url": address, "headers": headers}
    return answer({**body, "expires_at": timestamp(upload.expires_at)}, 201)


@logged
async def complete_upload(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/uploads/complete`: the bytes are there; they become a file of the key."""
    gateway = request.app[GATEWAY]
    key = await require(gateway.keys, request, Scope.UPLOAD)
    direct = direct_of(gateway)
    upload_id = _id(fields_of(await read_bounded(request, MAX_BODY_BYTES), {"id": str}).get("id"))
    upload = await direct.find(key.id, upload_id)
    if upload is None:
        raise UploadNotFound(f"your key has begun no upload {upload_id}")
    if upload.file_id is not None:
        return await _completed(gateway, key, upload.file_id, 200)
    if upload.has_expired:
        raise Gone(f"the address of the upload {upload_id} has ended: begin anew")
    wanted = upload.wanted
    client = gateway.proxies.client(request)
    owned = Owned(key.id, wanted.name, PROFILES[wanted.profile], wanted.lifetime, client)
    with gateway.traffic.upload():
        await check_still_allowed(request)
        try:
            added = await gateway.content.add_file(direct.read(upload), owned)
        except NotUploaded:
            # Another request may have completed it meanwhile: then the bytes went.
            now = await direct.find(key.id, upload_id)
            if now is None or now.file_id is None:
                raise
            return await _completed(gateway, key, now.file_id, 200)
        await direct.finish(upload, added.file_id)
    assert added.file_id is not None
    return await _completed(gateway, key, added.file_id, 201, added.receipt)


async def get_file_url(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/files/{id}/url`: an address to download the file from, without passing through here."""
    gateway = request.app[GATEWAY]
    key = await require(gateway.keys, request, Scope.READ)
    direct = direct_of(gateway)
    hours = _hours(parse_parameters(target_of(request)[1]).get("hours", DEFAULT_HOURS))
    file = await own_file(request, key)
    disposition = content_disposition(shortened(file.name) or str(file.root), attachment=True)
    address, until = await direct.download_address(file.root, disposition, hours * 3600)
    return answer({"url": address, "expires_at": timestamp(until)})


def direct_of(gateway: Gateway) -> DirectUploads:
    """Raises NotSupported where the store is no bucket."""
    if gateway.direct is None:
        raise NotSupported("this gateway keeps content in a folder, which has no addresses of its own")
    return gateway.direct


async def _completed(
    gateway: Gateway, key: ApiKey, file_id: UUID, status: int, receipt: Receipt = NO_RECEIPT
) -> web.Response:
    file = await gateway.files.find(key.id, file_id)
    if file is None:
        raise Conflict(f"the upload became the file {file_id}, which is not kept any more")
    return answer(file_json(file) | receipt_json(receipt), status)


def shortened(name: str) -> str:
    """The name, or so much of it that a disk can hold it, with its suffix: an address carries each of its
    bytes as five characters, and twice, and servers take about 8 KiB."""
    if len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > MAX_SUFFIX_CHARACTERS:
        stem, dot, suffix = name, "", ""
    end = (dot + suffix).encode("utf-8", "replace")
    return (stem.encode("utf-8", "replace")[: MAX_NAME_BYTES - len(end)] + end).decode("utf-8", "ignore")


def fields_of(body: bytes, known: Mapping[str, type | tuple[type, ...]]) -> _Fields:
    """A JSON object that has fields of these names and types alone. Raises BadRequest."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is a JSON object") from error
    if not isinstance(document, dict):
        raise BadRequest("the body is a JSON object")
    fields: dict[str, str | int | bool] = {}
    for name, value in document.items():
        if name not in known:
            raise BadRequest(f"{name!r} is none of the fields {', '.join(known)}")
        # JSON knows one kind of number; in Python a bool is an int.
        whole: str | int | bool = int(value) if isinstance(value, float) and value.is_integer() else value
        if not isinstance(whole, known[name]) or (isinstance(value, bool) and known[name] is not bool):
            raise BadRequest(f"{name} has the wrong type")
        fields[name] = whole
    return fields


def _wanted(fields: _Fields, key: ApiKey, gateway: Gateway) -> WantedUpload:
    name, content_type = str(fields.get("name", "")), fields.get("content_type")
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadRequest(f"a name has at most {MAX_NAME_CHARACTERS} characters")
    if content_type is not None and not _TYPE.fullmatch(str(content_type)):
        raise BadRequest("content_type is a type such as image/png, without parameters")
    profile = str(fields.get("profile", gateway.profile.name))
    if profile not in PROFILES:
        raise BadRequest(f"profile is one of {', '.join(PROFILES)}")
    asked = {"temporary": str(fields.get("temporary", False)).lower()}
    if "expires_in" in fields:
        asked["expires-in"] = str(fields["expires_in"])
    lifetime = lifetime_of(asked, key, gateway.temporary_seconds)
    kind = None if content_type is None else str(content_type)
    return WantedUpload(key.id, name, _size(fields, gateway), profile, kind, lifetime)


def _size(fields: _Fields, gateway: Gateway) -> int:
    if "size" not in fields:
        raise BadRequest("size is missing: the bytes of the file")
    size, limit = int(fields["size"]), min(MAX_SIZE, gateway.limits.upload_bytes)
    if size < 0:
        raise BadRequest("size is the number of bytes of the file")
    if size > limit:
        raise PayloadTooLarge(f"{size} bytes are announced, {limit} are allowed")
    return size


def _hours(asked: str | int) -> int:
    text = str(asked)
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not MIN_HOURS <= int(text) <= MAX_HOURS:
        raise HoursOutOfRange(f"hours is a whole number from {MIN_HOURS} to {MAX_HOURS}")
    return int(text)


def _id(asked: object) -> UUID:
    try:
        return UUID(str(asked))
    except ValueError:
        raise UploadNotFound("an upload has an `id`, which the answer to presign tells") from None
