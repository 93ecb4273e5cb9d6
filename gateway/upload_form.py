"""A multipart form as the entries of a directory."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    BodyPartReader,
    MultipartReader,
    hdrs,
    web,
)

from gateway.context import GATEWAY
from gateway.refusals import BadRequest
from gateway.upload_body import BodyMeter, begin_body, check_still_allowed
from storage.tree import TreeEntry

# aiohttp only warns of them, and Python remembers each text that it warned of: neither is wanted.
_BAD_DISPOSITIONS = (BadContentDispositionHeader, BadContentDispositionParam)
for _warning in _BAD_DISPOSITIONS:
    warnings.simplefilter("error", _warning)

# What Kubo's `/api/v0/add` takes for entries that are no files.
_DIRECTORY = "application/x-directory"
_SYMLINK = "application/symlink"
_CHUNK_BYTES = 256 * 1024
# Linux takes no longer path as the target of a link.
_MAX_TARGET_BYTES = 4096


async def read_form(request: web.Request) -> AsyncGenerator[TreeEntry, None]:
    """Every part that has a file name; its source must be read before the next entry is asked for."""
    meter = begin_body(request)
    most = request.app[GATEWAY].limits.directory_entries
    files = 0
    async for part in _parts(request, meter):
        path = _path(part)
        if path is None:
            await _skip(part, meter)
            continue
        files += 1
        if files > most:
            raise BadRequest(f"the form has more than {most} files")
        yield await _entry(part, path, meter)
    if not files:
        raise BadRequest("the form has no part with a file name")
    await check_still_allowed(request)


async def _parts(request: web.Request, meter: BodyMeter) -> AsyncGenerator[BodyPartReader, None]:
    with _readable_form():
        reader = await request.multipart()
    while True:
        with _readable_form():
            part = await meter.patiently(reader.next)
        if part is None:
            return
        if isinstance(part, MultipartReader):
            raise BadRequest("a form inside a form is not taken")
        yield part


@contextmanager
def _readable_form() -> Iterator[None]:
    """aiohttp says in many ways that a form breaks its grammar, or ends before its last boundary."""
    try:
        yield
    except (ValueError, AssertionError, RuntimeError, *_BAD_DISPOSITIONS) as error:
        raise BadRequest(f"the form cannot be read: {error}") from error


def _path(part: BodyPartReader) -> str | None:
    """The path that the file name gives; a leading slash counts as none."""
    name = part.filename
    if name is None:
        return None
    # The one escape of the HTML standard ("multipart/form-data encoding") that is no control character.
    name = name.replace("%22", '"')
    path = "/".join(segment for segment in name.split("/") if segment)
    if not path:
        raise BadRequest("a part has an empty file name")
    return path


async def _entry(part: BodyPartReader, path: str, meter: BodyMeter) -> TreeEntry:
    kind = part.headers.get(hdrs.CONTENT_TYPE, "")
    if kind == _DIRECTORY:
        await _skip(part, meter)
        return TreeEntry(path)
    if kind == _SYMLINK:
        target = b"".join([chunk async for chunk in _chunks(part, meter)])
        if not target or len(target) > _MAX_TARGET_BYTES:
            raise BadRequest(f"the target of the link {path!r} has 1 to {_MAX_TARGET_BYTES} bytes")
        return TreeEntry(path, target=target.decode("utf-8", "surrogateescape"))
    return TreeEntry(path, source=_chunks(part, meter))


async def _chunks(part: BodyPartReader, meter: BodyMeter) -> AsyncGenerator[bytes, None]:
    while True:
        with _readable_form():
            chunk = await meter.next(lambda: part.read_chunk(_CHUNK_BYTES))
        if not chunk:
            return
        yield chunk


async def _skip(part: BodyPartReader, meter: BodyMeter) -> None:
    async for _ in _chunks(part, meter):
        pass
