"""`?format=tar`: files, directories and symlinks as a TAR."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.formats.archive import represent_archive
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader, Buffer
from ipld.paths import Found
from ipld.unixfs.tree import Branch, walk
from storage.tar_times import decimal_time

_END = bytes(2 * tarfile.BLOCKSIZE)
# What is taken where the content names none.
_FILE_MODE, _DIRECTORY_MODE, _LINK_MODE = 0o644, 0o755, 0o777


async def represent_tar(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Path gateway spec, "application/x-tar": the top entry is called by the CID."""
    kind = ("application/x-tar", "x-tar", ".tar")
    return await represent_archive(blocks, wanted, found, kind, _pack)


async def _pack(blocks: BlockReader, found: Found, name: str) -> AsyncGenerator[Buffer, None]:
    async with aclosing(walk(blocks, found.cid, name)) as branches:
        async for branch in branches:
            yield _info(branch).tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            if branch.file is None or branch.target is not None:
                continue
            if branch.data is not None:
                yield branch.data
            else:
                async with aclosing(branch.file.read()) as pieces:
                    async for piece in pieces:
                        yield piece
            yield bytes(-branch.file.size % tarfile.BLOCKSIZE)
    yield _END


def _info(branch: Branch) -> tarfile.TarInfo:
    info = tarfile.TarInfo(branch.path)
    node = branch.node
    if branch.file is None:
        info.type, info.mode = tarfile.DIRTYPE, _DIRECTORY_MODE
    elif branch.target is not None:
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, _LINK_MODE, branch.target
    else:
        info.size, info.mode = branch.file.size, _FILE_MODE
    if node.mode is not None:
        info.mode = node.mode & 0o7777
    if node.mtime is not None:
        info.mtime = node.mtime.seconds
        if node.mtime.nanoseconds:
            # What the header's own field cannot say; exactly, as no float does.
            info.pax_headers = {"mtime": decimal_time(node.mtime)}
    return info
