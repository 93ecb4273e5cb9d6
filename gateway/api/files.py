"""`/api/v1/files`: what a key keeps, page by page, and letting go of it."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from aiohttp import web

from auth.keys import ApiKey, Scope
from auth.middleware import require
from gateway.api.answers import answer, file_json
from gateway.context import GATEWAY
from gateway.refusals import BadRequest, FileNotFound
from gateway.request import parse_parameters, target_of
from gateway.upload_refusals import logged
from ipld.cid import Cid
from storage.files import MAX_PAGE, FileQuery, KeptFile, Match, Place

DEFAULT_LIMIT = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Years 1970 to 9999 in microseconds, and a UUID.
_TIME_BYTES, _MAX_TIME = 8, 253_402_300_799_999_999
_CURSOR_CHARACTERS = 32


async def list_files(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/files`: the newest first; `next` is the cursor of the next page, null on the last."""
    gateway = request.app[GATEWAY]
    key = await require(gateway.keys, request, Scope.READ)
    query = query_of(parse_parameters(target_of(request)[1]), key)
    # One more tells whether there is another page.
    found = await gateway.files.page(_with_limit(query, query.limit + 1))
    page = found[: query.limit]
    more = len(found) > len(page)
    return answer(
        {"files": [file_json(file) for file in page], "next": cursor_of(page[-1]) if more else None}
    )


async def get_file(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/files/{id}`."""
    gateway = request.app[GATEWAY]
    key = await require(gateway.keys, request, Scope.READ)
    return answer(file_json(await own_file(request, key)))


@logged
async def delete_file(request: web.Request) -> web.StreamResponse:
    """`DELETE /api/v1/files/{id}`: the content goes too, unless another file or owner keeps it."""
    gateway = request.app[GATEWAY]
    key = await require(gateway.keys, request, Scope.DELETE)
    client = gateway.proxies.client(request)
    file_id = id_of_file(request)
    released = await gateway.content.let_go(gateway.files.release(key.id, file_id, client))
    if not released.found:
        raise _unknown(file_id)
    await gateway.forget()
    return web.Response(status=204)


async def own_file(request: web.Request, key: ApiKey) -> KeptFile:
    """The file that the path names. Raises FileNotFound, where another key has it as well."""
    file_id = id_of_file(request)
    file = await request.app[GATEWAY].files.find(key.id, file_id)
    if file is None:
        raise _unknown(file_id)
    return file


def id_of_file(request: web.Request) -> UUID:
    """Raises FileNotFound for what is no id."""
    text = request.match_info["id"]
    try:
        return UUID(text)
    except ValueError:
        raise FileNotFound("a file has an id such as 1f0b64e0-7d5c-4b9e-8f0e-3d1c5a2b9e77") from None


def _unknown(file_id: UUID) -> FileNotFound:
    return FileNotFound(f"your key has no file {file_id}")


def query_of(parameters: Mapping[str, str], key: ApiKey) -> FileQuery:
    """Raises BadRequest and InvalidCid."""
    match = parameters.get("match", Match.EXACT.value)
    if match not in tuple(Match):
        raise BadRequest(f"match is one of {', '.join(Match)}")
    limit = parameters.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= 6 and 1 <= int(limit) <= MAX_PAGE):
        raise BadRequest(f"limit is a number from 1 to {MAX_PAGE}")
    root = Cid.parse(parameters["cid"]) if "cid" in parameters else None
    after = place_of(parameters["cursor"]) if "cursor" in parameters else None
    return FileQuery(key.id, parameters.get("name"), Match(match), root, after, int(limit))


def _with_limit(query: FileQuery, limit: int) -> FileQuery:
    return FileQuery(query.owner, query.name, query.match, query.root, query.after, limit)


def cursor_of(file: KeptFile) -> str:
    """Where the page that ends with the file goes on."""
    moment = (file.created_at - _EPOCH) // _MICROSECOND
    return urlsafe_b64encode(moment.to_bytes(_TIME_BYTES, "big") + file.file_id.bytes).decode()


def place_of(cursor: str) -> Place:
    """Raises BadRequest for what `cursor_of` never makes."""
    try:
        data = urlsafe_b64decode(cursor) if len(cursor) == _CURSOR_CHARACTERS else b""
    except ValueError:
        data = b""
    moment = int.from_bytes(data[:_TIME_BYTES], "big")
    if len(data) != _TIME_BYTES + 16 or moment > _MAX_TIME:
        raise BadRequest("cursor is the `next` of the page before")
    return Place(_EPOCH + moment * _MICROSECOND, UUID(bytes=data[_TIME_BYTES:]))
