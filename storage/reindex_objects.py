"""What an object says of itself: the rows of a stored file or CAR, made anew from its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import InvalidCar, InvalidCid
from ipld.unixfs.profiles import PROFILES, Profile
from storage.block_table import MOST_NUMBERS
from storage.car_blocks import CarBlocks
from storage.car_import import object_root, roots_of
from storage.drafts import FileRows, batches
from storage.index import Layout, NewObject

CAR_SUFFIX = ".car"


class NotOurs(ValueError):
    """The object is not one that this program wrote, or it is damaged."""


class NotACar(NotOurs):
    """The object looks like a CAR by its name, and is none."""


@dataclass(frozen=True, slots=True)
class ReadObject:
    """An object read anew; `outside` are the blocks that it links to and does not hold."""

    new: NewObject
    roots: Sequence[Cid]
    outside: frozenset[bytes] = field(default=frozenset())


async def read_ours(key: str, size: int, pieces: AsyncGenerator[Buffer, None]) -> ReadObject:
    """An object of this program, whose key says what it is."""
    kind, _, rest = key.partition("/")
    if kind in ("cars", "imports"):
        return await read_car(key, size, pieces)
    if kind == "files":
        named = rest.partition("/")[0]
        # The profile, or the CID that the file must have in one of them.
        wanted = None if named in PROFILES else _cid(named)
        profiles = list(PROFILES.values()) if wanted is not None else [PROFILES[named]]
        found = await _read_file(key, size, pieces, profiles, wanted)
        if found is None:
            raise NotOurs(f"its bytes are not those of {named}")
        return found
    raise NotOurs("no object of this program has such a key")


async def read_theirs(
    key: str, size: int, pieces: AsyncGenerator[Buffer, None], metadata: Mapping[str, str], profile: Profile
) -> ReadObject:
    """An object that others put there: a CAR by its name or its metadata, else a file.

    A file gets the CID that the bucket gave it, where a profile makes that one, else that of `profile`.
    Raises NotACar where only the name says that it is one.
    """
    if is_car(key, metadata):
        return await read_car(key, size, pieces)
    try:
        given = Cid.parse(metadata["cid"]) if "cid" in metadata else None
    except InvalidCid:
        given = None
    others = [each for each in PROFILES.values() if each != profile] if given is not None else []
    found = await _read_file(key, size, pieces, [profile, *others], given, otherwise=True)
    assert found is not None
    return found


def is_car(key: str, metadata: Mapping[str, str]) -> bool:
    """Whether others said that the object is a CAR."""
    said = metadata.get("import")
    return said == "car" if said is not None else key.lower().endswith(CAR_SUFFIX)


async def _read_file(
    key: str,
    size: int,
    pieces: AsyncGenerator[Buffer, None],
    profiles: Sequence[Profile],
    wanted: Cid | None,
    *,
    otherwise: bool = False,
) -> ReadObject | None:
    """In the profile that gives the wanted CID; else in the first one with `otherwise`, else None."""
    rows = FileRows(profiles)
    async for batch in batches(pieces):
        await asyncio.to_thread(rows.add, batch)
    finished = await asyncio.to_thread(rows.finish)
    fitting = [each for each in finished if wanted is None or each[1].root.to_v1() == wanted.to_v1()]
    if not fitting and not otherwise:
        return None
    profile, built, found = (fitting or finished)[0]
    root = wanted if fitting and wanted is not None else built.root
    return ReadObject(NewObject(key, Layout.FILE, root, size, found, profile.name), [root])


def _cid(named: str) -> Cid:
    try:
        return Cid.parse(named)
    except InvalidCid as error:
        raise NotOurs(f"{named} is neither a profile nor a CID") from error


async def read_car(key: str, size: int, pieces: AsyncGenerator[Buffer, None]) -> ReadObject:
    """A CAR as it lies there, of version 1 or 2."""
    # The upload kept to a limit, which may have been another one then.
    blocks = CarBlocks(max_blocks=MOST_NUMBERS)
    try:
        async for batch in batches(pieces):
            await asyncio.to_thread(blocks.add, batch)
        blocks.reader.close()
    except InvalidCar as error:
        raise NotACar(str(error)) from error
    roots = roots_of(blocks)
    if not roots:
        raise NotACar("it has neither roots nor blocks")
    gaps = await asyncio.to_thread(blocks.gaps, roots)
    is_partial = next(gaps.opaque(), None) is not None or blocks.first_lost(roots) is not None
    start = blocks.reader.body_start
    rows = blocks.rows(start)
    is_version_1 = start == len(blocks.reader.header)
    layout = (
        await asyncio.to_thread(blocks.layout, roots, blocks.reader.header) if is_version_1 else Layout.CAR
    )
    new = NewObject(key, layout, object_root(roots), size, rows, partial=is_partial, distinct=True)
    return ReadObject(new, roots, frozenset(cid.multihash for cid in gaps.absent()))
