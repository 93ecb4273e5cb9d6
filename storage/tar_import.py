"""A TAR as the entries of a directory, read as it comes: ustar, PAX and the long names of GNU."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from ipld.blocks import Buffer
from ipld.unixfs.node import NO_METADATA, Metadata
from storage.refused import InvalidTar
from storage.tar_times import parse_time
from storage.tree import TreeEntry

_BLOCK = tarfile.BLOCKSIZE
# Long names and PAX records are held in memory; Linux takes no path of more than 4096 bytes.
MAX_METADATA_BYTES = 64 * 1024
MAX_ENTRIES = 1_000_000

_REFUSED = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.CONTTYPE: "a contiguous file",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_KEPT_RECORDS = (b"path", b"linkpath", b"size", b"mtime")
_SPARSE_RECORDS = (b"GNU.sparse.", b"SCHILY.realsize")
_SPARSE = "sparse"


@dataclass(frozen=True, slots=True)
class Preserve:
    """What is taken over of an entry beside its name and data."""

    mode: bool = False
    mtime: bool = False


async def tar_entries(
    source: AsyncIterable[Buffer], max_entries: int = MAX_ENTRIES, preserve: Preserve = Preserve()
) -> AsyncGenerator[TreeEntry, None]:
    """The entries in their order; the source of one must be read before the next is asked for.

    Raises InvalidTar. The stream is read to its end: what stands behind the end of the archive is
    padding to whoever wrote it, and nothing to anybody else.
    """
    async with aclosing(_Stream(source)) as stream:
        archive = _Archive(stream)
        count = 0
        while (member := await archive.next()) is not None:
            count += 1
            if count > max_entries:
                raise InvalidTar(f"more than {max_entries} entries", member.offset)
            entry = _entry(archive, member, preserve)
            # Of the directory that holds all the others only its mode and time are new.
            if entry.path or entry.metadata != NO_METADATA:
                yield entry
        await stream.drain()


@dataclass(frozen=True, slots=True)
class _Member:
    """A header with what long names and PAX records before it said."""

    name: str
    target: str
    kind: bytes
    size: int
    mode: int
    mtime: str
    offset: int

    @property
    def is_directory(self) -> bool:
        return self.kind == tarfile.DIRTYPE

    def metadata(self, preserve: Preserve) -> Metadata:
        """InvalidTar where the time that is wanted is none."""
        if not preserve.mode and not preserve.mtime:
            return NO_METADATA
        try:
            mtime = parse_time(self.mtime) if preserve.mtime else None
        except ValueError as error:
            raise InvalidTar(f"{self.name!r} has a time that cannot be read", self.offset) from error
        return Metadata(self.mode if preserve.mode else None, mtime)


def _entry(archive: _Archive, member: _Member, preserve: Preserve) -> TreeEntry:
    path = _path(member)
    metadata = member.metadata(preserve)
    if member.kind in _REFUSED:
        raise InvalidTar(f"{path!r} is {_REFUSED[member.kind]}, which no directory can hold", member.offset)
    if member.is_directory:
        return TreeEntry(path, metadata=metadata)
    if not path:
        raise InvalidTar("an entry without a name", member.offset)
    if member.kind == tarfile.SYMTYPE:
        if not member.target or "\0" in member.target:
            raise InvalidTar(f"the link {path!r} leads nowhere", member.offset)
        return TreeEntry(path, target=member.target, metadata=metadata)
    if member.kind in _FILES:
        return TreeEntry(path, source=archive.data(), metadata=metadata)
    raise InvalidTar(f"{path!r} is of type {member.kind!r}, which is not known", member.offset)


def _path(member: _Member) -> str:
    name = member.name
    if name.startswith("/") or "\0" in name:
        raise InvalidTar(f"the name {name!r} is no path inside a directory", member.offset)
    segments = [segment for segment in name.split("/") if segment not in ("", ".")]
    if ".." in segments:
        raise InvalidTar(f"the name {name!r} leaves its directory", member.offset)
    return "/".join(segments)


@dataclass(slots=True)
class _Ahead:
    """What stands before a header and changes it."""

    records: dict[str, str] = field(default_factory=dict)
    name: str | None = None
    target: str | None = None


class _Archive:
    """One header after the other; the data of the last one is passed over if nobody reads it."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._global: dict[str, str] = {}
        self._left = 0
        self._padding = 0

    async def next(self) -> _Member | None:
        """None at the end of the archive, which is a block of zeros: an archive that just stops was
        cut off, perhaps between two files."""
        async for _ in self.data():
            pass
        ahead = _Ahead(dict(self._global))
        while True:
            offset = self._stream.position
            block = await self._stream.exactly(_BLOCK)
            if not any(block):
                return None
            header = _header(block, offset)
            if not await self._is_metadata(header, ahead, offset):
                return self._member(header, ahead, offset)

    async def _is_metadata(self, header: tarfile.TarInfo, ahead: _Ahead, offset: int) -> bool:
        """Whether the header is about the one after it; then it is read."""
        match header.type:
            case tarfile.XHDTYPE | tarfile.SOLARIS_XHDTYPE:
                ahead.records |= _records(await self._metadata(header, offset), offset)
            case tarfile.XGLTYPE:
                self._global |= _records(await self._metadata(header, offset), offset)
                ahead.records = self._global | ahead.records
            case tarfile.GNUTYPE_LONGNAME:
                ahead.name = _text((await self._metadata(header, offset)).rstrip(b"\0"))
            case tarfile.GNUTYPE_LONGLINK:
                ahead.target = _text((await self._metadata(header, offset)).rstrip(b"\0"))
            case _:
                return False
        return True

    async def _metadata(self, header: tarfile.TarInfo, offset: int) -> bytes:
        if not 0 <= header.size <= MAX_METADATA_BYTES:
            raise InvalidTar(f"names and attributes of {header.size} bytes", offset)
        data = await self._stream.exactly(header.size)
        await self._stream.exactly(-header.size % _BLOCK)
        return data

    def _member(self, header: tarfile.TarInfo, ahead: _Ahead, offset: int) -> _Member:
        records = ahead.records
        name = ahead.name if ahead.name is not None else records.get("path", header.name)
        target = ahead.target if ahead.target is not None else records.get("linkpath", header.linkname)
        if _SPARSE in records:
            raise InvalidTar(f"{name!r} is a sparse file, which no directory can hold", offset)
        kind = header.type
        # As old writers say that it is a directory.
        if kind in _FILES and name.endswith("/"):
            kind = tarfile.DIRTYPE
        size = _size(records["size"], offset) if "size" in records else header.size
        if size < 0:
            raise InvalidTar(f"{name!r} has {size} bytes", offset)
        # Links and directories have no data, whatever their size says (POSIX, ustar interchange format).
        has_data = kind in _FILES
        self._left, self._padding = (size, -size % _BLOCK) if has_data else (0, 0)
        mtime = records.get("mtime") or str(header.mtime)
        return _Member(name, target, kind, size, header.mode & 0o7777, mtime, offset)

    async def data(self) -> AsyncGenerator[Buffer, None]:
        """The rest of the data of the last header."""
        while self._left:
            piece = await self._stream.some(self._left)
            self._left -= len(piece)
            yield piece
        padding, self._padding = self._padding, 0
        await self._stream.exactly(padding)


def _header(block: bytes, offset: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise InvalidTar(f"no header of an entry ({error})", offset) from error


def _records(data: bytes, offset: int) -> dict[str, str]:
    """POSIX, "pax Extended Header": `<length> <keyword>=<value>\\n`, the length counting all of it."""
    records: dict[str, str] = {}
    while data:
        digits, _, _ = data[:20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        keyword, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not keyword or not equals or length > len(data) or not value.endswith(b"\n"):
            raise InvalidTar("attributes that cannot be read", offset)
        # Nothing else is kept, so that no number of headers fills the memory.
        if keyword in _KEPT_RECORDS:
            records[_text(keyword)] = _text(value[:-1])
        elif keyword.startswith(_SPARSE_RECORDS):
            records[_SPARSE] = ""
        data = data[length:]
    return records


def _size(text: str, offset: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidTar("a size that is no number", offset)
    return int(text)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class _Stream:
    """Bytes by count out of pieces of any size; `position` counts those that were taken."""

    def __init__(self, source: AsyncIterable[Buffer]) -> None:
        self._source: AsyncIterator[Buffer] = aiter(source)
        self._piece = memoryview(b"")
        self.position = 0

    async def some(self, most: int) -> memoryview:
        """At least one byte, and at most so many; InvalidTar at the end of the stream."""
        while not self._piece:
            piece = await anext(self._source, None)
            if piece is None:
                raise InvalidTar("the archive is cut off", self.position)
            self._piece = memoryview(piece)
        taken, self._piece = self._piece[:most], self._piece[most:]
        self.position += len(taken)
        return taken

    async def exactly(self, count: int) -> bytes:
        taken = bytearray()
        while len(taken) < count:
            taken += await self.some(count - len(taken))
        return bytes(taken)

    async def drain(self) -> None:
        self._piece = memoryview(b"")
        async for _ in self._source:
            pass

    async def aclose(self) -> None:
        """Close the source, if it is one that can be closed."""
        if isinstance(self._source, AsyncGenerator):
            await self._source.aclose()
