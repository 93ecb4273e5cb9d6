"""CARs that are sent as spans of objects: byte for byte what a walk over the blocks gives, or broken off."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.blocks import CachedBlocks
from cache.memory import MemoryCache
from ipld import car, codecs, dag_pb
from ipld.blocks import Block, BlockReader, Buffer, FileSpan, Leaf, Piece, SectionReader
from ipld.car_stream import dag_car, dag_sections, sections, whole_dag_of
from ipld.car_traversal import Chosen, entity, whole_dag
from ipld.cid import DAG_CBOR, DAG_PB, RAW, Cid
from ipld.errors import BlockCorrupt, BlockNotFound, StoreUnavailable
from ipld.pieces import buffers
from ipld.unixfs.profiles import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from storage import sections as packed_sections
from storage import span_checks, whole_dags
from storage.car_import import CarTerms
from storage.index import Index, Layout, Location, StoredObject
from storage.local import LocalObjects
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectStore
from storage.reindex import Reindex
from storage.tree import TreeEntry
from tests.ipld.dags import dag_pb_block, raw_leaf, small, wrapped_leaf
from tests.storage.stores import MIB, Stores, cut, flip, join, pieces, settled_tasks


class Plain:
    """The same blocks, of which nobody knows how they lie."""

    def __init__(self, blocks: BlockReader) -> None:
        self._blocks = blocks

    async def get(self, cid: Cid) -> bytes:
        return await self._blocks.get(cid)

    def stream(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Buffer, None]:
        return self._blocks.stream(leaves)

    def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        return self._blocks.spans(leaves)


@contextmanager
def tiny() -> Iterator[None]:
    """Bounds so small that DAGs of a few hundred bytes meet all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_sections, "SPAN_BYTES", 40)
        patch.setattr(packed_sections, "PORTION_BYTES", 200)
        patch.setattr(packed_sections, "MAX_RUN_BYTES", 2000)
        patch.setattr(packed_sections, "BLOCKS_PER_QUERY", 5)
        patch.setattr(whole_dags, "CHECKED_BYTES", 300)
        patch.setattr(whole_dags, "SENT_BYTES", 700)
        patch.setattr(span_checks, "WINDOW_BYTES", 256)
        patch.setattr(span_checks, "_windows", threading.local())
        yield


async def walked(blocks: BlockReader, root: Cid, *, duplicates: bool = False) -> bytes:
    """What all others are compared with."""
    return await join(buffers(sections(whole_dag(Plain(blocks), root, Chosen(duplicates)))))


async def streamed(blocks: BlockReader, root: Cid, *, duplicates: bool = False) -> bytes:
    assert isinstance(blocks, SectionReader)
    whole = await whole_dag_of(blocks, root, duplicates=duplicates)
    return await join(buffers(dag_sections(blocks, root, Chosen(duplicates), whole)))


def archive(root: Cid, blocks: Sequence[Block]) -> bytes:
    return car.header([root]) + b"".join(car.frame(b.cid, len(b.data)) + b.data for b in blocks)


def parsed(data: bytes) -> list[Block]:
    parser = car.CarParser()
    return [Block(section.cid, section.data) for section in parser.feed(car.header([]) + data)]


@st.composite
def dags(draw: st.DrawFn) -> list[Block]:
    """Blocks of which each links to earlier ones, some twice, some through identity CIDs; the last one to
    all that nobody else links to."""
    sizes = st.sampled_from([0, 1, 39, 40, 41, 150, 260, 900])
    blocks = [
        raw_leaf(random.Random(number).randbytes(draw(sizes))) for number in range(draw(st.integers(1, 5)))
    ]
    version = draw(st.integers(0, 1))
    blocks.append(wrapped_leaf(b"w" * draw(sizes), version))
    linked: set[Cid] = set()
    for number in range(draw(st.integers(0, 7))):
        children = draw(st.lists(st.sampled_from(blocks), max_size=5))
        linked |= {child.cid for child in children}
        blocks.append(_node(draw, [child.cid for child in children], number, version))
    rest = [block.cid for block in blocks if block.cid not in linked]
    return [*dict.fromkeys(blocks), _node(draw, rest, 99, version)]


def _node(draw: st.DrawFn, cids: list[Cid], number: int, version: int) -> Block:
    if cids and draw(st.integers(0, 5)) == 0:
        through = dag_pb.encode([dag_pb.PBLink(cids[0], "", 1)], b"")
        cids = [
            Cid.of(through, DAG_PB, hash="identity"),
            Cid.of(b"in place", RAW, hash="identity"),
            *cids[1:],
        ]
    if draw(st.booleans()):
        data = codecs.encode(DAG_CBOR, {"number": number, "links": list(cids)})
        return Block(Cid.of(data, DAG_CBOR), data)
    links = [dag_pb.PBLink(cid, f"{place}", 7) for place, cid in enumerate(cids)]
    return dag_pb_block(dag_pb.encode(links, b"%d" % number), version)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


@settings(deadline=None, max_examples=40)
@given(dags(), st.sampled_from(["dfs", "any", "more", "twice"]), st.booleans(), st.randoms())
async def test_imports_in_any_order(
    folder: Path, blocks: list[Block], order: str, is_local: bool, chance: random.Random
) -> None:
    root = blocks[-1].cid
    local = LocalObjects(folder)
    stores = Stores(local if is_local else MemoryObjects(), MemoryIndex())
    whole = Stores(MemoryObjects(), MemoryIndex())
    await whole.content.add_car(pieces(archive(root, blocks)), whole.owned(), CarTerms(root))
    expected = {both: await walked(whole.blocks, root, duplicates=both) for both in (False, True)}
    there = parsed(expected[False])
    if order == "any":
        chance.shuffle(there)
    elif order != "dfs":
        there.append(raw_leaf(b"more") if order == "more" else there[0])
    data = archive(root, there)
    with tiny():
        await stores.content.add_car(cut(data, 101), stores.owned(), CarTerms())
        found = await stores.index.find(root)
        assert found is not None
        if there == parsed(expected[False]):
            same = expected[True] == expected[False]
            assert found.layout == (Layout.TREE if same else Layout.DAG)
        else:
            assert found.layout == Layout.CAR
        for _ in ("hashed", "trusted"):
            for duplicates in (False, True):
                assert await streamed(stores.blocks, root, duplicates=duplicates) == expected[duplicates]
        assert stores.damage == 0
    await local.aclose()


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from([b"", b"a", b"bb" * 30, b"ccc" * 100, b"d" * 4000]), min_size=1, max_size=8),
    st.sampled_from(list(PROFILES.values())),
    st.booleans(),
    st.booleans(),
)
async def test_directories_as_they_are_uploaded(
    folder: Path, files: list[bytes], profile: Profile, is_local: bool, is_nested: bool
) -> None:
    local = LocalObjects(folder)
    stores = Stores(local if is_local else MemoryObjects(), MemoryIndex())

    async def entries() -> AsyncGenerator[TreeEntry, None]:
        for number, data in enumerate(reversed(files)):
            yield TreeEntry(f"d{number % 3}/{number}" if is_nested else f"{number}", pieces(data))

    with tiny():
        root = (await stores.content.add_tree(entries(), stores.owned(profile=profile))).cid
        found = await stores.index.find(root)
        assert found is not None
        assert found.layout in (Layout.DAG, Layout.TREE)
        for _ in ("hashed", "trusted"):
            for duplicates in (False, True):
                expected = await walked(stores.blocks, root, duplicates=duplicates)
                assert await streamed(stores.blocks, root, duplicates=duplicates) == expected
        assert await whole_dag_of(stores.blocks, root, duplicates=False)
        # What the index knows of each block is still true.
        for block in parsed(expected):
            assert await stores.blocks.get(block.cid) == block.data
    await local.aclose()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("size", [0, 1, 262_145, 5 * MIB + 5])
async def test_files(objects: ObjectStore, profile: Profile, size: int) -> None:
    stores = Stores(objects, MemoryIndex())
    # Some leaves come again.
    data = (random.Random(size).randbytes(MIB) * 2 + random.Random(1).randbytes(4 * MIB))[:size]
    cid = (await stores.content.add_file(cut(data), stores.owned(profile=profile))).cid
    for duplicates in (False, True):
        expected = await walked(stores.blocks, cid, duplicates=duplicates)
        assert len(expected) > size or not duplicates
        for _ in ("hashed", "trusted"):
            assert await streamed(stores.blocks, cid, duplicates=duplicates) == expected
        for span in ((0, size), (size // 3, size // 2), (size - 1, size)):
            if span[0] < span[1]:
                wanted = sections(entity(Plain(stores.blocks), cid, Chosen(duplicates), span))
                got = sections(entity(stores.blocks, cid, Chosen(duplicates), span))
                assert await join(buffers(got)) == await join(buffers(wanted))
        stores.restart()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), max_size=40), st.booleans(), st.booleans(), st.booleans(), st.data())
async def test_files_of_many_levels(
    folder: Path, parts: list[int], raw_leaves: bool, is_local: bool, duplicates: bool, data: st.DataObject
) -> None:
    """Nodes of three, some of them in several places."""
    local = LocalObjects(folder)
    stores = Stores(local if is_local else MemoryObjects(), MemoryIndex())
    content = b"".join(bytes([part]) * 45 for part in parts)
    profile = small(chunk_size=45, raw_leaves=raw_leaves)
    with tiny():
        cid = (await stores.content.add_file(cut(content), stores.owned(profile=profile))).cid
        expected = await walked(stores.blocks, cid, duplicates=duplicates)
        start = data.draw(st.integers(0, max(0, len(content) - 1)))
        span = (start, data.draw(st.integers(start, len(content))))
        ranged = sections(entity(Plain(stores.blocks), cid, Chosen(duplicates), span))
        part = await join(buffers(ranged))
        for _ in ("hashed", "trusted"):
            assert await streamed(stores.blocks, cid, duplicates=duplicates) == expected
            ranged = sections(entity(stores.blocks, cid, Chosen(duplicates), span))
            assert await join(buffers(ranged)) == part
    await local.aclose()


async def test_a_large_directory_is_read_along_its_objects(tmp_path: Path) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())

    async def entries() -> AsyncGenerator[TreeEntry, None]:
        for number in range(6):
            yield TreeEntry(f"{number}", cut(os.urandom(MIB + number)))

    root = (await stores.content.add_tree(entries(), stores.owned())).cid
    found = await stores.index.find(root)
    assert found is not None
    assert found.layout is Layout.CAR
    assert await streamed(stores.blocks, root) == await walked(stores.blocks, root)
    await local.aclose()


async def test_spans_and_not_bytes_come_out_of_a_folder(tmp_path: Path) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    for profile in PROFILES.values():
        data = os.urandom(5 * MIB)
        cid = (await stores.content.add_file(cut(data), stores.owned(profile=profile))).cid
        in_spans = 0
        async with aclosing(dag_car(stores.blocks, cid)) as found:
            async for piece in found:
                in_spans += len(piece) if isinstance(piece, FileSpan) else 0
        assert in_spans == len(data)
    await local.aclose()


async def test_a_whole_object_is_one_span(tmp_path: Path) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    root, data = await imported(stores)
    assert await join(buffers(dag_car(stores.blocks, root))) == data
    stores.counted.reads.clear()
    found = [piece async for piece in dag_car(stores.blocks, root)]
    assert [type(piece) for piece in found] == [bytearray, FileSpan]
    assert sum(map(len, found)) == len(data)
    assert stores.counted.reads == []
    await local.aclose()


async def imported(stores: Stores, seed: int = 1) -> tuple[Cid, bytes]:
    """A CAR in the order of its DAG, with blocks of all sizes up to 1 MiB, 12 MiB in all."""
    chance = random.Random(seed)
    leaves = [raw_leaf(chance.randbytes(size)) for size in [MIB] * 9 + [300_000] * 9 + [1000] * 300]
    links = [dag_pb.PBLink(leaf.cid, "", len(leaf.data)) for leaf in leaves]
    root = dag_pb_block(dag_pb.encode(links, b""))
    data = archive(root.cid, [root, *leaves])
    await stores.content.add_car(cut(data), stores.owned(), CarTerms())
    return root.cid, data


@pytest.mark.parametrize("where", ["in a frame", "in a block", "in the root", "at the end"])
async def test_a_flipped_bit_is_never_sent(tmp_path: Path, where: str) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    root, data = await imported(stores)
    [key] = await stores.keys()
    blocks = parsed(data[len(car.header([root])) :])
    at = {
        "in a block": 5 * MIB,
        "in a frame": data.index(blocks[8].cid.raw, data.index(blocks[8].data) - 40) + 20,
        "in the root": data.index(blocks[0].data),
        "at the end": len(data) - 1,
    }[where]
    await stores.change(key, flip(at))
    got = bytearray()
    if where == "in a frame":
        # No block is damaged: the frame is made anew.
        assert await join(buffers(dag_car(stores.blocks, root))) == data
    else:
        with pytest.raises(BlockCorrupt):
            async with aclosing(buffers(dag_car(stores.blocks, root))) as parts:
                async for part in parts:
                    got += part
        assert data.startswith(got)
        assert len(got) <= at
    assert stores.damage >= 1
    found = await stores.index.find(root)
    assert found is not None
    assert found.damaged
    # A new upload heals.
    await imported(stores)
    assert await join(buffers(dag_car(stores.blocks, root))) == data
    await local.aclose()


@pytest.mark.parametrize("how", ["cut between two blocks", "cut within one", "other content", "longer"])
async def test_an_object_that_is_not_what_it_was(tmp_path: Path, how: str) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    root, data = await imported(stores)
    [key] = await stores.keys()
    last = car.frame(Cid.of(b"x"), 1000)
    other = archive(Cid.of(b"y"), parsed(data[len(car.header([root])) :])[1:])
    changed = {
        "cut between two blocks": data[: -1000 - len(last)],
        "cut within one": data[:-500],
        "other content": (other + data)[: len(data)],
        "longer": data + archive(root, [raw_leaf(b"z")])[len(car.header([root])) :],
    }[how]
    await stores.change(key, lambda _: changed)
    if how == "longer":
        assert await join(buffers(dag_car(stores.blocks, root))) == data
    else:
        with pytest.raises(BlockCorrupt):
            await join(buffers(dag_car(stores.blocks, root)))
    assert stores.damage >= 1
    await local.aclose()


async def test_another_copy_goes_on_where_one_is_damaged(objects: ObjectStore) -> None:
    stores = Stores(objects, MemoryIndex())
    data = os.urandom(5 * MIB)
    cid = (await stores.content.add_file(cut(data), stores.owned())).cid
    [key] = await stores.keys()
    expected = await walked(stores.blocks, cid)

    async def entries() -> AsyncGenerator[TreeEntry, None]:
        yield TreeEntry("a", pieces(b"a"))
        yield TreeEntry("file", cut(data))

    await stores.content.add_tree(entries(), stores.owned())
    for at in (3 * MIB + 9, 0):
        await stores.change(key, flip(at))
        stores.restart()
        assert await streamed(stores.blocks, cid) == expected


async def test_what_changes_while_it_is_read(tmp_path: Path) -> None:
    """The bytes are looked at again: sound ones go out, others never."""
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    root, data = await imported(stores)
    [key] = await stores.keys()
    for change, is_sound in ((flip(11 * MIB), False), (lambda same: same, True)):
        stores.restart()
        got = bytearray()
        async with aclosing(buffers(dag_car(stores.blocks, root))) as parts:
            got += await anext(parts)
            got += await anext(parts)
            await stores.change(key, change)
            try:
                async for part in parts:
                    got += part
            except BlockCorrupt:
                assert not is_sound
        assert data.startswith(got)
        assert (bytes(got) == data) is is_sound
        await stores.change(key, lambda _: data)
        stores.index._objects[1].damaged = False  # type: ignore[attr-defined]
    await local.aclose()


async def test_a_deleted_object(tmp_path: Path) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    root, data = await imported(stores)
    whole = await whole_dag_of(stores.blocks, root, duplicates=False)
    assert whole is not None
    await stores.content.release(stores.owner, root)
    assert await join(buffers(whole.read())) == b""
    with pytest.raises(BlockNotFound):
        await join(buffers(dag_sections(stores.blocks, root, Chosen(), whole)))
    assert stores.damage == 0, "deleted is not damaged"
    await imported(stores)
    assert await join(buffers(dag_car(stores.blocks, root))) == data
    await local.aclose()


async def test_each_byte_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    root, data = await imported(stores)
    checked: list[int] = []
    sound_until = whole_dags.sound_until

    def counted(descriptor: int, span: tuple[int, int, int], first: Cid | None) -> int:
        stop = sound_until(descriptor, span, first)
        checked.append(stop - span[0])
        return stop

    monkeypatch.setattr(whole_dags, "sound_until", counted)
    readers = [join(buffers(dag_car(stores.blocks, root))) for _ in range(5)]
    assert await asyncio.gather(*readers) == [data] * 5
    assert sum(checked) == len(data) - len(car.header([root]))
    assert await join(buffers(dag_car(stores.blocks, root))) == data
    assert sum(checked) == len(data) - len(car.header([root]))
    # Its blocks are known now as well.
    monkeypatch.setattr(span_checks, "verify", None)
    assert await walked(stores.blocks, root) == data[len(car.header([root])) :]
    await local.aclose()


async def test_leaving_early_leaves_nothing_behind(tmp_path: Path) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    root, _ = await imported(stores)
    cid = (await stores.content.add_file(cut(os.urandom(6 * MIB)), stores.owned())).cid
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for wanted in (root, cid):
        for taken in (1, 2, 3):
            stores.restart()
            reading = dag_car(stores.blocks, wanted)
            for _ in range(taken):
                await anext(reading)
            await reading.aclose()
    assert not await settled_tasks()
    for _ in range(100):
        if not before or len(os.listdir("/proc/self/fd")) <= before + 2:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("descriptors are left open")
    await local.aclose()


async def test_a_root_under_its_other_version_is_walked() -> None:
    """The frame of the first block names the version under which it was stored."""
    stores = Stores(MemoryObjects(), MemoryIndex())
    leaf = wrapped_leaf(b"leaf", 0)
    root = dag_pb_block(dag_pb.encode([dag_pb.PBLink(leaf.cid, "a", 1)], b""), 0)
    data = archive(root.cid, [root, leaf])
    await stores.content.add_car(pieces(data), stores.owned(), CarTerms())
    assert await whole_dag_of(stores.blocks, root.cid, duplicates=True)
    assert await whole_dag_of(stores.blocks, root.cid.to_v1(), duplicates=True) is None
    other = await join(buffers(dag_car(stores.blocks, root.cid.to_v1())))
    assert [block.cid for block in parsed(other[len(car.header([root.cid.to_v1()])) :])] == [
        root.cid.to_v1(),
        leaf.cid,
    ]


@pytest.mark.parametrize("mixed", ["section", "link", "root"])
async def test_blocks_under_both_versions_are_walked(mixed: str) -> None:
    stores = Stores(MemoryObjects(), MemoryIndex())
    leaf = wrapped_leaf(b"leaf", 0)
    linked = leaf.cid.to_v1() if mixed == "link" else leaf.cid
    root = dag_pb_block(dag_pb.encode([dag_pb.PBLink(linked, "a", 1)], b""), 0)
    there = [root, Block(leaf.cid.to_v1(), leaf.data) if mixed == "section" else leaf]
    named = root.cid.to_v1() if mixed == "root" else root.cid
    data = car.header([named]) + archive(root.cid, there)[len(car.header([root.cid])) :]
    await stores.content.add_car(pieces(data), stores.owned(), CarTerms())
    found = await stores.index.find(root.cid)
    assert found is not None
    assert found.layout is Layout.CAR
    assert await streamed(stores.blocks, named) == await walked(stores.blocks, named)


async def test_what_rests_on_other_objects_is_walked(index: Index) -> None:
    stores = Stores(MemoryObjects(), index)
    leaf = raw_leaf(b"leaf")
    root = dag_pb_block(dag_pb.encode([dag_pb.PBLink(leaf.cid, "a", 4)], b""))
    for block in (leaf, root):
        await stores.content.add_block(block.cid, block.data, stores.owned())
    assert await whole_dag_of(stores.blocks, leaf.cid, duplicates=True)
    assert await whole_dag_of(stores.blocks, root.cid, duplicates=False) is None
    assert await join(buffers(dag_car(stores.blocks, root.cid))) == archive(root.cid, [root, leaf])


async def test_the_layout_is_found_again(index: Index) -> None:
    stores = Stores(MemoryObjects(), index)
    root, _ = await imported(stores)
    before = await stores.index.find(root)
    assert before is not None
    assert before.layout is Layout.TREE
    again = Stores(stores.objects, MemoryIndex())
    assert await Reindex(again.objects, again.index)() == 1
    after = await again.index.find(root)
    assert after is not None
    assert after.layout is Layout.TREE
    assert await again.content.release(again.owner, root) is False


class Away(MemoryIndex):
    """An index that can be stopped."""

    is_away = False

    async def locate(self, multihashes: Sequence[bytes]) -> Mapping[bytes, Sequence[Location]]:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().locate(multihashes)

    async def find(self, root: Cid) -> StoredObject | None:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().find(root)


async def test_what_is_cached_needs_no_index() -> None:
    index = Away()
    stores = Stores(MemoryObjects(), index)
    leaves = [raw_leaf(b"leaf %d" % number) for number in range(5)]
    root = dag_pb_block(dag_pb.encode([dag_pb.PBLink(leaf.cid, "", 6) for leaf in leaves], b""))
    data = archive(root.cid, [root, *leaves])
    await stores.content.add_car(pieces(data), stores.owned(), CarTerms())
    cached = CachedBlocks(stores.blocks, MemoryCache(MIB))
    assert await join(buffers(dag_car(cached, root.cid))) == data
    for block in (root, *leaves):
        await cached.get(block.cid)
    index.is_away = True
    stores.blocks.forget()
    assert await join(buffers(dag_car(cached, root.cid))) == data
    with pytest.raises(StoreUnavailable):
        await join(buffers(dag_car(stores.blocks, root.cid)))


async def test_blocks_from_the_cache_take_their_place_among_the_others() -> None:
    stores = Stores(MemoryObjects(), MemoryIndex())
    root, data = await imported(stores)
    cached = CachedBlocks(stores.blocks, MemoryCache(8 * MIB))
    for number, block in enumerate(parsed(data[len(car.header([root])) :])):
        if number % 3:
            await cached.get(block.cid)
    assert await join(buffers(dag_car(cached, root))) == data
    # Over a place that knows nothing of sections they are walked.
    assert await join(buffers(dag_car(CachedBlocks(Plain(stores.blocks), MemoryCache(MIB)), root))) == data


def test_profiles_are_those_that_are_tested() -> None:
    assert set(PROFILES.values()) == {UNIXFS_V0_2015, UNIXFS_V1_2025}
