"""The `_redirects` and `_headers` of sites, read once for each root and kept ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from cache.memory import MemoryCache
from gateway.sites import headers_file, redirects_file
from gateway.sites.errors import BrokenSiteFile
from gateway.sites.headers_file import HeadersFile, parse_headers, weight_of
from gateway.sites.redirects_file import Rule, parse_redirects
from ipld.blocks import BlockReader
from ipld.cid import DAG_PB, Cid
from ipld.errors import BlockCorrupt, BlockNotFound, MalformedBlock, NotUnixFs, WrongKind
from ipld.unixfs.listing import find_entry
from ipld.unixfs.reader import open_file

log = logging.getLogger("cidgate.sites")

MAX_BYTES = 32 * 1024 * 1024
# Memory for each byte of `_redirects` once it is parsed: so much for rules of the fewest characters.
_RULES_WEIGHT = 32
# Smaller files are parsed before a thread would have begun.
_ASIDE_BYTES = 4096

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class _Known(Generic[Parsed]):
    """What a root has: the parsed file, or what is wrong with it, or neither."""

    parsed: Parsed | None = None
    wrong: str | None = None

    def given(self) -> Parsed | None:
        # A new exception each time: one that is kept would collect tracebacks.
        if self.wrong is not None:
            raise BrokenSiteFile(self.wrong)
        return self.parsed


@dataclass(frozen=True, slots=True)
class _File(Generic[Parsed]):
    """A file that a site may have. `weigh` says how much memory it takes, in bytes, from the file and what
    it was parsed to."""

    name: str
    parse: Callable[[bytes], Parsed]
    weigh: Callable[[bytes, Parsed], int]
    max_bytes: int
    too_large: str


_REDIRECTS: _File[Sequence[Rule]] = _File(
    "_redirects",
    parse_redirects,
    lambda data, _: _RULES_WEIGHT * len(data),
    redirects_file.MAX_FILE_BYTES,
    redirects_file.too_large(),
)
_HEADERS: _File[HeadersFile] = _File(
    "_headers",
    parse_headers,
    lambda _, parsed: weight_of(parsed),
    headers_file.MAX_FILE_BYTES,
    headers_file.too_large(),
)


class SiteFiles:
    """Keeps what was parsed, and that there was nothing, by root: roots never change.

    Both methods raise BrokenSiteFile for a file that is there and cannot be used, and StoreUnavailable.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """`max_bytes` for each of the two kinds. What weighs more than an eighth is parsed each time."""
        self._redirects: MemoryCache[_Known[Sequence[Rule]]] = MemoryCache(max_bytes)
        self._headers: MemoryCache[_Known[HeadersFile]] = MemoryCache(max_bytes)
        self._epoch = 0

    async def redirects(self, blocks: BlockReader, root: Cid) -> Sequence[Rule]:
        """The rules of the site with this root; none where it has no such file."""
        return await self._get(_REDIRECTS, self._redirects, blocks, root) or ()

    async def headers(self, blocks: BlockReader, root: Cid) -> HeadersFile | None:
        """The custom headers of the site with this root."""
        try:
            return await self._get(_HEADERS, self._headers, blocks, root)
        except BlockNotFound:
            # A part of a large directory is missing, so nobody knows: that must not hide what is here.
            return None

    def clear(self) -> None:
        """Something was deleted."""
        self._epoch += 1
        self._redirects.clear()
        self._headers.clear()

    async def _get(
        self, file: _File[Parsed], kept: MemoryCache[_Known[Parsed]], blocks: BlockReader, root: Cid
    ) -> Parsed | None:
        known = kept.get(root)
        if known is None:
            epoch = self._epoch
            known, weight = await _load(file, blocks, root)
            if epoch == self._epoch:
                kept.put(root, known, weight)
        return known.given()


async def _load(file: _File[Parsed], blocks: BlockReader, root: Cid) -> tuple[_Known[Parsed], int]:
    """What there is, and how many bytes it takes to keep that. What cannot be read now is raised."""
    entry = await _find(blocks, root, file.name)
    if entry is None:
        return _Known(), 0
    data = await _read(file, blocks, entry)
    try:
        parsed = await asyncio.to_thread(file.parse, data) if len(data) > _ASIDE_BYTES else file.parse(data)
    except BrokenSiteFile as error:
        return _Known(wrong=str(error)), len(str(error))
    if isinstance(parsed, HeadersFile) and parsed.ignored:
        first = parsed.ignored[0]
        log.debug("%s/%s, line %d: %s", root, file.name, first.line, first.reason)
    return _Known(parsed), file.weigh(data, parsed)


async def _find(blocks: BlockReader, root: Cid, name: str) -> Cid | None:
    # A file served by itself has no other files beside it, so there is no need to fetch it.
    if root.codec != DAG_PB:
        return None
    try:
        link = (await find_entry(blocks, root, name)).link
    except NotUnixFs:
        return None
    return None if link is None else link.cid


async def _read(file: _File[Parsed], blocks: BlockReader, cid: Cid) -> bytes:
    try:
        opened = await open_file(blocks, cid)
        if opened.size > file.max_bytes:
            raise BrokenSiteFile(file.too_large)
        async with aclosing(opened.read(0, file.max_bytes + 1)) as pieces:
            return b"".join([piece async for piece in pieces])
    except WrongKind as error:
        raise BrokenSiteFile(f"could not parse {file.name}: it is not a file") from error
    except (BlockCorrupt, BlockNotFound, MalformedBlock, NotUnixFs) as error:
        raise BrokenSiteFile(f"could not read {file.name}: {error}") from error
