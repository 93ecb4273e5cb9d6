"""`?format=zip`: a directory for those whose system opens no TAR."""

from __future__ import annotations

import re
import stat
import time
import zipfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import IO, cast

from gateway.formats.archive import represent_archive
from gateway.refusals import NotSupported
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader, Buffer
from ipld.paths import Found
from ipld.unixfs.node import Mtime
from ipld.unixfs.tree import Branch, walk

# The directory at the end names every entry: some 400 bytes each in memory until then.
MAX_ENTRIES = 250_000

# What the format has for the length of a path, the slash of a directory included.
MAX_NAME_BYTES = 65_535

# The format knows no time before its own first day, nor after its last.
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)


async def represent_zip(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Nothing is compressed: what is worth it mostly is already, and bytes go out as fast as they come."""
    kind = ("application/zip", "zip", ".zip")
    return await represent_archive(blocks, wanted, found, kind, _pack)


class _Sink:
    """A file that cannot seek: zipfile then writes each entry in one go. It holds what came last."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here for anybody."""

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


async def _pack(blocks: BlockReader, found: Found, name: str) -> AsyncGenerator[Buffer, None]:
    sink = _Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        async with aclosing(walk(blocks, found.cid, name)) as branches:
            async for branch in branches:
                if len(archive.filelist) == MAX_ENTRIES:
                    raise NotSupported(
                        f"a ZIP has at most {MAX_ENTRIES} entries here; format=tar has no such limit"
                    )
                async with aclosing(_entry(archive, branch)) as steps:
                    async for _ in steps:
                        yield sink.take()
    yield sink.take()


async def _entry(archive: zipfile.ZipFile, branch: Branch) -> AsyncGenerator[None, None]:
    info = _info(branch)
    if info.filename in archive.NameToInfo:
        # zipfile would warn, and keep each warning for ever.
        raise NotSupported(f"a ZIP has one entry of each name: {info.filename!a}; format=tar takes more")
    if branch.file is None:
        archive.writestr(info, b"")
        yield
        return
    if branch.target is not None:
        archive.writestr(info, branch.target.encode("utf-8", "surrogateescape"))
        yield
        return
    if branch.data is not None:
        archive.writestr(info, bytes(branch.data))
        yield
        return
    with archive.open(info, "w", force_zip64=branch.file.size >= 2**31) as entry:
        async with aclosing(branch.file.read()) as pieces:
            async for piece in pieces:
                entry.write(piece)
                yield
    yield


def _info(branch: Branch) -> zipfile.ZipInfo:
    # To Windows a backslash is a slash, and `..\\` leads out of the directory.
    path = _UNSAFE.sub(_escaped, branch.path)
    if len(path.encode()) >= MAX_NAME_BYTES:
        raise NotSupported(f"a path in a ZIP has at most {MAX_NAME_BYTES} bytes; format=tar takes more")
    info = zipfile.ZipInfo(path + "/" if branch.file is None else path, _moment(branch.node.mtime))
    kind, mode = stat.S_IFREG, 0o644
    if branch.file is None:
        kind, mode = stat.S_IFDIR, 0o755
    elif branch.target is not None:
        kind, mode = stat.S_IFLNK, 0o777
    if branch.node.mode is not None:
        mode = branch.node.mode & 0o777
    info.create_system = 3  # Unix: the upper half of the attributes is the mode.
    info.external_attr = (kind | mode) << 16
    return info


# Backslashes, and bytes of names that are no UTF-8: the format has only that.
_UNSAFE = re.compile(r"[\\\udc80-\udcff]")


def _escaped(found: re.Match[str]) -> str:
    return f"%{ord(found[0]) & 0xFF:02X}"


def _moment(mtime: Mtime | None) -> tuple[int, int, int, int, int, int]:
    if mtime is None:
        return _FIRST
    try:
        at = time.gmtime(mtime.seconds)
    except (OverflowError, ValueError, OSError):
        return _FIRST
    moment = (at.tm_year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec)
    return min(max(moment, _FIRST), _LAST)
