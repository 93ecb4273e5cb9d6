"""What both indexes promise, and that they answer alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import StoreUnavailable
from storage.index import (
    BlockRow,
    Committed,
    Index,
    Layout,
    Location,
    NewObject,
    NewUpload,
    UploadGone,
)
from storage.memory_index import MemoryIndex
from storage.objects import NO_RECEIPT, Receipt
from storage.postgres_index import Pool, PostgresIndex
from storage.postgres_placing import hold, place
from storage.postgres_uploads import upload_row
from tests import database as databases

ALICE, BOB = UUID(int=1), UUID(int=2)


def cid(name: str, codec: int = DAG_PB, version: int = 1) -> Cid:
    return Cid.of(name.encode(), codec, version)


def rows(*names: str) -> list[BlockRow]:
    return [BlockRow(cid(name).multihash, 100 * at, 100) for at, name in enumerate(names)]


def new(key: str, root: str, *blocks: str, **more: object) -> NewObject:
    values: dict[str, object] = {"layout": Layout.CAR, "size": 1000, **more}
    return NewObject(key, root=cid(root), rows=rows(root, *blocks), **values)  # type: ignore[arg-type]


async def commit(
    index: Index, *objects: NewObject, owner: UUID = ALICE, name: str = "", begin: bool = True
) -> Committed:
    if begin:
        for one in objects:
            await index.begin(one.key)
    return await index.commit(objects, NewUpload(owner, objects[-1].root, name, 10))


async def located(index: Index, *names: str) -> dict[str, list[str]]:
    found = await index.locate([cid(name).multihash for name in names])
    return {
        name: [copy.key for copy in found[cid(name).multihash]]
        for name in names
        if cid(name).multihash in found
    }


async def test_a_block_is_found_where_it_was_put(index: Index) -> None:
    row = BlockRow(cid("leaf").multihash, 7, 20, wrapped=True)
    inline = BlockRow(cid("inner").multihash, 0, 3, inline=b"abc")
    one = NewObject("k", Layout.FILE, cid("root"), 27, [row, inline], "unixfs-v0-2015")
    added = await commit(index, one)
    found = await index.locate([row.multihash, inline.multihash, cid("none").multihash, row.multihash])
    number = added.object_id
    assert dict(found) == {
        row.multihash: [Location(number, "k", Layout.FILE, 7, 20, wrapped=True)],
        inline.multihash: [Location(number, "k", Layout.FILE, 0, 3, inline=b"abc")],
    }
    stored = await index.find(cid("root"))
    assert stored is not None
    assert (stored.object_id, stored.key, stored.layout, stored.root) == (
        number,
        "k",
        Layout.FILE,
        cid("root"),
    )
    assert (stored.size, stored.profile, stored.damaged, stored.partial) == (
        27,
        "unixfs-v0-2015",
        False,
        False,
    )
    assert await index.find(cid("leaf")) is None
    assert await index.known(["k", "other"]) == {"k"}


async def test_nothing_asked_nothing_found(index: Index) -> None:
    assert dict(await index.locate([])) == {}
    assert await index.known([]) == frozenset()
    everything = await index.closure([])
    assert everything.complete
    assert not everything.objects


async def test_a_block_twice_in_one_object_is_its_first_place(index: Index) -> None:
    await commit(index, replace(new("k", "root"), rows=rows("root", "x", "root")))
    [copy] = (await index.locate([cid("root").multihash]))[cid("root").multihash]
    assert copy.offset == 0


async def test_a_root_is_found_under_either_version(index: Index) -> None:
    v0, v1 = cid("root", version=0), cid("root")
    await commit(index, replace(new("k", "root"), root=v0))
    for root in (v0, v1):
        stored = await index.find(root)
        assert stored is not None
        assert stored.root == v0
    assert await index.find(cid("root", RAW)) is None
    again = await commit(index, new("k2", "root"), owner=BOB)
    assert again.surplus == ["k2"]
    assert (await index.release(ALICE, v1)).found
    assert (await index.release(BOB, v0)).keys == ["k"]


async def test_an_upload_is_unsettled_until_its_commit(index: Index) -> None:
    await index.begin("k")
    assert list(await index.unsettled(0)) == ["k"]
    assert list(await index.unsettled(60)) == []
    await commit(index, new("k", "root"), begin=False)
    assert list(await index.unsettled(0)) == []
    assert not await index.abandon("k")


async def test_committing_what_was_never_begun(index: Index) -> None:
    with pytest.raises(UploadGone):
        await commit(index, new("k", "root"), begin=False)
    assert await index.find(cid("root")) is None
    assert not (await index.release(ALICE, cid("root"))).found


@pytest.mark.parametrize("settled", [False, True])
async def test_an_upload_that_was_swept(index: Index, settled: bool) -> None:
    await index.begin("k")
    assert await index.abandon("k")
    assert await index.abandon("k")
    if settled:
        await index.settle("k")
        assert not await index.abandon("k")
    with pytest.raises(UploadGone):
        await commit(index, new("k", "root"), begin=False)
    await index.settle("k")
    assert list(await index.unsettled(0)) == []
    assert dict(await located(index, "root")) == {}


async def test_only_abandoned_keys_settle(index: Index) -> None:
    await index.begin("k")
    await index.settle("k")
    assert list(await index.unsettled(0)) == ["k"]


async def test_the_same_root_is_stored_once(index: Index) -> None:
    first = await commit(index, new("k1", "root", "a"))
    second = await commit(index, new("k2", "root", "a"), owner=BOB)
    assert (second.object_id, list(second.surplus)) == (first.object_id, ["k2"])
    assert list(await index.unsettled(60)) == ["k2"], "it is for the sweep at once"
    await index.settle("k2")
    assert await located(index, "a") == {"a": ["k1"]}
    assert list((await index.release(ALICE, cid("root"))).keys) == []
    assert await located(index, "a") == {"a": ["k1"]}
    released = await index.release(BOB, cid("root"))
    assert (released.found, list(released.keys)) == (True, ["k1"])
    assert await located(index, "a", "root") == {}


async def test_releasing(index: Index) -> None:
    await commit(index, new("k1", "root"), name="one")
    await commit(index, new("k2", "root"), name="two")
    await commit(index, new("k3", "root"), name="two")
    assert not (await index.release(BOB, cid("root"))).found
    assert not (await index.release(ALICE, cid("other"))).found
    released = await index.release(ALICE, cid("root"))
    assert (released.found, list(released.keys)) == (True, ["k1"])
    assert not (await index.release(ALICE, cid("root"))).found
    assert sorted(await index.unsettled(0)) == ["k1", "k2", "k3"]
    assert await index.find(cid("root")) is None


async def test_a_shared_block_stays_with_the_other_object(index: Index) -> None:
    await commit(index, new("k1", "one", "shared"))
    await commit(index, new("k2", "two", "shared"))
    assert await located(index, "shared") == {"shared": ["k1", "k2"]}
    await index.release(ALICE, cid("one"))
    assert await located(index, "shared", "one") == {"shared": ["k2"]}


async def test_what_a_root_needs_is_kept(index: Index) -> None:
    old = await commit(index, new("old", "old", "file"))
    edit = await commit(
        index, new("f", "newfile"), new("edit", "edit", needs=frozenset({old.object_id})), owner=BOB
    )
    closure = await index.closure([cid("edit").multihash])
    assert closure.complete
    assert len(closure.objects) == 3
    assert {old.object_id, edit.object_id} < closure.objects
    assert list((await index.release(ALICE, cid("old"))).keys) == []
    further = await commit(index, new("edit2", "edit2", needs=closure.objects))
    assert (await index.closure([cid("edit2").multihash])).objects == closure.objects | {further.object_id}
    assert list((await index.release(BOB, cid("edit"))).keys) == []
    assert await located(index, "file", "newfile") == {"file": ["old"], "newfile": ["f"]}
    released = await index.release(ALICE, cid("edit2"))
    assert sorted(released.keys) == ["edit", "edit2", "f", "old"]


async def test_every_object_of_an_upload_is_held(index: Index) -> None:
    """The tree is there already as one CAR; the file beside it is new, and must not be forgotten."""
    await commit(index, new("tree", "tree", "file"), owner=BOB)
    added = await commit(index, new("file", "file"), new("tree2", "tree"))
    assert list(added.surplus) == ["tree2"]
    assert await index.find(cid("file")) is not None
    assert list((await index.release(ALICE, cid("tree"))).keys) == ["file"]
    assert list((await index.release(BOB, cid("tree"))).keys) == ["tree"]


async def test_needing_what_was_deleted(index: Index) -> None:
    old = await commit(index, new("old", "old"))
    await index.release(ALICE, cid("old"))
    with pytest.raises(UploadGone):
        await commit(index, new("edit", "edit", needs=frozenset({old.object_id})))
    assert await index.find(cid("edit")) is None
    assert sorted(await index.unsettled(0)) == ["edit", "old"]
    assert not (await index.release(ALICE, cid("edit"))).found


async def test_the_closure_of_many_blocks(index: Index) -> None:
    one = await commit(index, new("k1", "one", "a"))
    two = await commit(index, new("k2", "two", "b"))
    closure = await index.closure([cid("a").multihash, cid("b").multihash, cid("a").multihash])
    assert closure.objects == {one.object_id, two.object_id}
    assert closure.complete
    closure = await index.closure([cid("a").multihash, cid("none").multihash])
    assert closure.objects == {one.object_id}
    assert not closure.complete


class TestKeeping:
    async def test_what_others_brought(self, index: Index) -> None:
        """By its root, or by a part of it: the object stays as long as either is kept."""
        first = await commit(index, new("k1", "root", "part"))
        kept = await index.keep(NewUpload(BOB, cid("part"), "mine", 10), frozenset({first.object_id}))
        again = await index.keep(NewUpload(BOB, cid("part"), "mine", 10), frozenset({first.object_id}))
        assert again == kept
        assert (await index.release(ALICE, cid("root"))).keys == []
        assert await located(index, "part") == {"part": ["k1"]}
        assert not (await index.release(BOB, cid("root"))).found
        assert (await index.release(BOB, cid("part"))).keys == ["k1"]

    async def test_what_the_object_needs_stays_as_well(self, index: Index) -> None:
        below = await commit(index, new("k1", "below"))
        needs = frozenset({below.object_id})
        above = await commit(index, new("k2", "above", needs=needs))
        await index.keep(NewUpload(BOB, cid("above"), "", 10), frozenset({above.object_id}))
        for root in ("below", "above"):
            assert (await index.release(ALICE, cid(root))).keys == []
        assert sorted((await index.release(BOB, cid("above"))).keys) == ["k1", "k2"]

    async def test_what_is_gone(self, index: Index) -> None:
        first = await commit(index, new("k1", "root"))
        await index.release(ALICE, cid("root"))
        with pytest.raises(UploadGone):
            await index.keep(NewUpload(BOB, cid("root"), "", 10), frozenset({first.object_id}))
        assert not (await index.release(BOB, cid("root"))).found

    async def test_kept_and_let_go_at_once(self, index: Index) -> None:
        """Either it is there and kept, or gone and not kept; never kept and gone."""
        for n in range(30):
            first = await commit(index, new(f"k{n}", "root"))
            upload = NewUpload(BOB, cid("root"), "", 10)
            outcomes = await asyncio.gather(
                index.keep(upload, frozenset({first.object_id})),
                index.release(ALICE, cid("root")),
                return_exceptions=True,
            )
            is_there = await located(index, "root") == {"root": [f"k{n}"]}
            assert is_there == (not isinstance(outcomes[0], UploadGone))
            assert (await index.release(BOB, cid("root"))).found == is_there


class TestDamage:
    async def test_sound_copies_come_first(self, index: Index) -> None:
        one = await commit(index, new("k1", "one", "shared"))
        await commit(index, new("k2", "two", "shared"))
        await index.mark_damaged(one.object_id)
        await index.mark_damaged(one.object_id)
        await index.mark_damaged(987_654)
        assert await located(index, "shared") == {"shared": ["k2", "k1"]}
        found = await index.find(cid("one"))
        assert found is not None
        assert found.damaged

    async def test_a_sound_copy_behind_many_damaged_ones(self, index: Index) -> None:
        for n in range(10):
            added = await commit(index, new(f"k{n}", f"root{n}", "shared"))
            if n < 9:
                await index.mark_damaged(added.object_id)
        copies = (await located(index, "shared"))["shared"]
        assert copies[0] == "k9"
        assert len(copies) == 8

    async def test_at_most_eight_copies(self, index: Index) -> None:
        for n in range(10):
            await commit(index, new(f"k{n}", f"root{n}", "shared"))
        assert (await located(index, "shared"))["shared"] == [f"k{n}" for n in range(8)]

    async def test_a_new_upload_replaces_it(self, index: Index) -> None:
        old = await commit(index, new("k1", "root", "a"))
        edit = await commit(index, new("k2", "edit", needs=frozenset({old.object_id})), owner=BOB)
        await index.mark_damaged(old.object_id)
        third = UUID(int=3)
        added = await commit(index, new("k3", "root", "a"), owner=third)
        assert list(added.surplus) == ["k1"]
        assert await located(index, "a") == {"a": ["k3"]}
        assert (await index.closure([cid("edit").multihash])).objects == {edit.object_id, added.object_id}
        # Holds are carried over: the edit, and the first owner, keep the new one.
        assert list((await index.release(third, cid("root"))).keys) == []
        assert list((await index.release(ALICE, cid("root"))).keys) == []
        assert await located(index, "a") == {"a": ["k3"]}
        assert sorted((await index.release(BOB, cid("edit"))).keys) == ["k2", "k3"]

    async def test_who_held_it_holds_what_the_new_one_needs(self, index: Index) -> None:
        whole = await commit(index, new("whole", "root", "file"))
        part = await commit(index, new("part", "part", "file"), owner=BOB)
        await index.mark_damaged(whole.object_id)
        await commit(index, new("edit", "root", needs=frozenset({part.object_id})), owner=BOB)
        await index.release(BOB, cid("root"))
        assert list((await index.release(BOB, cid("part"))).keys) == []
        assert await located(index, "file") == {"file": ["part"]}
        assert sorted((await index.release(ALICE, cid("root"))).keys) == ["edit", "part"]

    async def test_a_new_object_that_needs_the_damaged_one(self, index: Index) -> None:
        """An edit that changes nothing: it has the directories, the old one has everything else."""
        old = await commit(index, new("k1", "root", "a"))
        await index.mark_damaged(old.object_id)
        added = await commit(index, new("k2", "root", needs=frozenset({old.object_id})))
        assert list(added.surplus) == []
        assert await located(index, "a", "root") == {"a": ["k1"], "root": ["k2", "k1"]}

    async def test_a_lone_block_does_not_replace_a_whole_object(self, index: Index) -> None:
        old = await commit(index, new("k1", "root", "a"))
        await index.mark_damaged(old.object_id)
        added = await commit(index, new("k2", "root", partial=True))
        assert list(added.surplus) == []
        assert await located(index, "a") == {"a": ["k1"]}


class TestPartial:
    async def test_a_lone_block_is_no_twin_of_a_whole_upload(self, index: Index) -> None:
        await commit(index, new("block", "root", partial=True), owner=BOB)
        assert not (await index.closure([cid("root").multihash])).complete
        added = await commit(index, new("whole", "root", "file"))
        assert list(added.surplus) == ["block"]
        assert await located(index, "root", "file") == {"root": ["whole"], "file": ["whole"]}
        assert (await index.closure([cid("root").multihash])).complete
        assert list((await index.release(ALICE, cid("root"))).keys) == []
        assert list((await index.release(BOB, cid("root"))).keys) == ["whole"]

    async def test_the_same_block_is_stored_once(self, index: Index) -> None:
        await commit(index, new("k1", "root", partial=True))
        assert list((await commit(index, new("k2", "root", partial=True))).surplus) == ["k2"]

    async def test_another_part_of_the_same_dag_is_kept(self, index: Index) -> None:
        await commit(index, new("k1", "root", "a", partial=True))
        added = await commit(index, new("k2", "root", "b", partial=True))
        assert list(added.surplus) == []
        assert await located(index, "a", "b") == {"a": ["k1"], "b": ["k2"]}

    async def test_the_closure_prefers_what_is_whole(self, index: Index) -> None:
        await commit(index, new("k1", "one", "dir", partial=True))
        whole = await commit(index, new("k2", "two", "dir", "file"))
        closure = await index.closure([cid("dir").multihash])
        assert closure.complete
        assert closure.objects == {whole.object_id}


class TestAdopting:
    async def test_an_object_that_was_found(self, index: Index) -> None:
        added = await index.adopt(new("k", "root"), NewUpload(ALICE, cid("root"), "", 1))
        assert list(added.surplus) == []
        assert await located(index, "root") == {"root": ["k"]}
        assert list(await index.unsettled(0)) == []

    async def test_a_second_time(self, index: Index) -> None:
        upload = NewUpload(ALICE, cid("root"), "", 1)
        await index.adopt(new("k", "root"), upload)
        with pytest.raises(UploadGone):
            await index.adopt(new("k", "root"), upload)
        assert await located(index, "root") == {"root": ["k"]}
        assert list(await index.unsettled(0)) == []

    async def test_a_second_copy_is_left_to_the_sweep(self, index: Index) -> None:
        upload = NewUpload(ALICE, cid("root"), "", 1)
        await index.adopt(new("k1", "root"), upload)
        assert list((await index.adopt(new("k2", "root"), upload)).surplus) == ["k2"]
        assert list(await index.unsettled(0)) == ["k2"]

    async def test_what_is_being_written(self, index: Index) -> None:
        await index.begin("k")
        with pytest.raises(UploadGone):
            await index.adopt(new("k", "root"), NewUpload(ALICE, cid("root"), "", 1))
        await commit(index, new("k", "root"), begin=False)

    async def test_needing_what_is_gone(self, index: Index) -> None:
        with pytest.raises(UploadGone):
            await index.adopt(new("k", "root", needs=frozenset({5})), NewUpload(ALICE, cid("root"), "", 1))
        assert list(await index.unsettled(0)) == []

    async def test_two_at_once(self, index: Index) -> None:
        upload = NewUpload(ALICE, cid("root"), "", 1)
        done = await asyncio.gather(
            *(index.adopt(new("k", "root"), upload) for _ in range(4)), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in done) == ["Committed"] + ["UploadGone"] * 3
        assert await index.known(["k"]) == {"k"}


def theirs(key: str, root: str, *blocks: str, **more: object) -> NewObject:
    return new(key, root, *blocks, theirs=True, **more)


async def adopt(index: Index, one: NewObject, name: str = "") -> Committed:
    return await index.adopt(one, NewUpload(ALICE, one.root, name, 1))


class TestTheirs:
    """What others put into the bucket is theirs: they change it, and nobody else deletes it."""

    async def test_it_is_known_as_theirs(self, index: Index) -> None:
        await adopt(index, theirs("k", "root"))
        stored = await index.find(cid("root"))
        assert stored is not None
        assert stored.theirs

    async def test_letting_go_deletes_nothing(self, index: Index) -> None:
        await adopt(index, theirs("k", "root", "a"))
        released = await index.release(ALICE, cid("root"))
        assert (released.found, list(released.keys), released.files) == (True, [], 1)
        assert await located(index, "root", "a") == {}
        assert list(await index.unsettled(0)) == []

    @pytest.mark.parametrize("damaged", [False, True])
    async def test_an_upload_of_ours_takes_its_place(self, index: Index, damaged: bool) -> None:
        old = await adopt(index, theirs("k", "root", "a"))
        edit = await commit(index, new("edit", "edit", needs=frozenset({old.object_id})), owner=BOB)
        if damaged:
            await index.mark_damaged(old.object_id)
        added = await commit(index, new("ours", "root", "a"), owner=UUID(int=3))
        assert list(added.surplus) == []
        assert list(await index.unsettled(0)) == []
        assert await located(index, "a") == {"a": ["ours"]}
        assert (await index.closure([cid("edit").multihash])).objects == {edit.object_id, added.object_id}
        assert list((await index.release(UUID(int=3), cid("root"))).keys) == []
        assert list((await index.release(ALICE, cid("root"))).keys) == []
        assert sorted((await index.release(BOB, cid("edit"))).keys) == ["edit", "ours"]

    async def test_the_next_upload_is_stored_once(self, index: Index) -> None:
        await adopt(index, theirs("k", "root", "a"))
        await commit(index, new("k1", "root", "a"))
        assert list((await commit(index, new("k2", "root", "a"))).surplus) == ["k2"]

    async def test_a_part_of_ours_does_not_take_the_place_of_the_whole(self, index: Index) -> None:
        await adopt(index, theirs("k", "root", "a"))
        assert list((await commit(index, new("k1", "root", partial=True))).surplus) == []
        assert list((await commit(index, new("k2", "root", partial=True))).surplus) == ["k2"]
        assert await located(index, "a", "root") == {"a": ["k"], "root": ["k", "k1"]}
        stored = await index.find(cid("root"))
        assert stored is not None
        assert stored.key == "k"

    async def test_one_of_theirs_beside_ours_is_left_alone(self, index: Index) -> None:
        await commit(index, new("ours", "root", "a"))
        added = await adopt(index, theirs("k", "root", "a"))
        assert list(added.surplus) == []
        assert list(await index.unsettled(0)) == []
        assert await index.known(["k", "ours"]) == {"ours"}

    async def test_a_second_one_of_theirs(self, index: Index) -> None:
        await adopt(index, theirs("k1", "root"))
        await adopt(index, theirs("k2", "root"))
        assert await index.known(["k1", "k2"]) == {"k1"}
        assert list(await index.unsettled(0)) == []


class TestOverwritten:
    async def test_nothing_has_changed(self, index: Index) -> None:
        await adopt(index, theirs("k", "root"), "name")
        assert not await index.overwritten("k", cid("root", version=0), ALICE, "name")
        assert await located(index, "root") == {"root": ["k"]}

    @pytest.mark.parametrize("by", [cid("other"), None])
    async def test_what_was_there_goes(self, index: Index, by: Cid | None) -> None:
        await adopt(index, theirs("k", "root"), "name")
        assert await index.overwritten("k", by, ALICE, "name")
        assert await located(index, "root") == {}
        assert not (await index.release(ALICE, cid("root"))).found
        assert list(await index.unsettled(0)) == []
        await adopt(index, theirs("k", "other"), "name")
        assert await located(index, "other") == {"other": ["k"]}

    async def test_what_others_keep_is_damaged_until_it_comes_again(self, index: Index) -> None:
        old = await adopt(index, theirs("k", "root", "a"), "name")
        await index.keep(NewUpload(BOB, cid("a"), "", 10), frozenset({old.object_id}))
        assert await index.overwritten("k", cid("other"), ALICE, "name")
        await adopt(index, theirs("k", "other"), "name")
        stored = await index.find(cid("root"))
        assert stored is not None
        assert stored.damaged
        assert stored.key != "k"
        await commit(index, new("ours", "root", "a"))
        await index.release(ALICE, cid("root"))
        assert await located(index, "a", "other") == {"a": ["ours"], "other": ["k"]}
        assert list((await index.release(BOB, cid("a"))).keys) == ["ours"]

    async def test_what_the_owner_keeps_elsewhere_stays(self, index: Index) -> None:
        """Another name, or another root that only rests on it."""
        old = await adopt(index, theirs("k", "root"), "name")
        await commit(index, new("edit", "edit", needs=frozenset({old.object_id})), name="name")
        await commit(index, new("mine", "mine"), name="name")
        assert await index.overwritten("k", cid("other"), ALICE, "name")
        assert not (await index.release(ALICE, cid("root"))).found
        assert (await index.release(ALICE, cid("edit"))).keys == ["edit"]
        assert (await index.release(ALICE, cid("mine"))).keys == ["mine"]

    async def test_a_damaged_one_is_taken_in_anew(self, index: Index) -> None:
        old = await adopt(index, theirs("k", "root"), "name")
        await index.mark_damaged(old.object_id)
        assert await index.overwritten("k", cid("root"), ALICE, "name")
        await adopt(index, theirs("k", "root"), "name")
        stored = await index.find(cid("root"))
        assert stored is not None
        assert not stored.damaged

    async def test_ours_are_not_theirs(self, index: Index) -> None:
        await commit(index, new("k", "root"), name="name")
        assert await index.overwritten("k", cid("other"), ALICE, "name")
        assert await index.overwritten("none", cid("other"), ALICE, "name")
        assert await located(index, "root") == {"root": ["k"]}


def seen_as(root: str) -> Receipt:
    return Receipt(publishes=True, published=cid(root, version=0))


class TestPublished:
    async def test_one_that_is_published_takes_the_place_of_one_that_is_not(self, index: Index) -> None:
        await commit(index, new("plain", "root", "a", receipt=seen_as("another")))
        added = await commit(index, new("car", "root", "a", receipt=seen_as("root")), owner=BOB)
        assert list(added.surplus) == ["plain"]
        assert await located(index, "a") == {"a": ["car"]}
        assert list((await index.release(ALICE, cid("root"))).keys) == []
        assert list((await index.release(BOB, cid("root"))).keys) == ["car"]

    @pytest.mark.parametrize("receipt", [seen_as("root"), seen_as("another"), NO_RECEIPT])
    async def test_and_keeps_it(self, index: Index, receipt: Receipt) -> None:
        await commit(index, new("car", "root", "a", receipt=seen_as("root")))
        assert list((await commit(index, new("again", "root", "a", receipt=receipt))).surplus) == ["again"]

    async def test_a_part_does_not(self, index: Index) -> None:
        await commit(index, new("whole", "root", "a"))
        added = await commit(index, new("part", "root", receipt=seen_as("root"), partial=True))
        assert list(added.surplus) == ["part"]


class TestAtOnce:
    async def test_one_root_eight_times(self, index: Index) -> None:
        owners = [UUID(int=n) for n in range(8)]
        added = await asyncio.gather(
            *(commit(index, new(f"k{n}", "root", "a"), owner=owner) for n, owner in enumerate(owners))
        )
        assert len({one.object_id for one in added}) == 1
        assert len({key for one in added for key in one.surplus}) == 7
        assert len((await located(index, "a"))["a"]) == 1
        for owner in owners:
            released = await index.release(owner, cid("root"))
        assert len(released.keys) == 1

    @pytest.mark.parametrize("same_owner", [False, True])
    async def test_commit_and_release(self, index: Index, same_owner: bool) -> None:
        """Whatever the order: what somebody holds is in the index, and what nobody holds is not."""
        owners = [ALICE, ALICE if same_owner else BOB]

        async def keep_and_let_go(worker: int) -> None:
            for step in range(6):
                key = f"{worker}-{step}"
                added = await commit(
                    index, new(f"f{key}", "file"), new(f"t{key}", "tree", "x"), owner=owners[worker % 2]
                )
                assert added.object_id
                await index.release(owners[worker % 2], cid("tree"))

        await asyncio.wait_for(asyncio.gather(*(keep_and_let_go(worker) for worker in range(4))), 30)
        assert await located(index, "file", "tree", "x") == {}
        await commit(index, new("last", "tree"))
        assert await located(index, "tree") == {"tree": ["last"]}

    async def test_an_edit_while_its_base_is_released(self, index: Index) -> None:
        for step in range(8):
            base = await commit(index, new(f"base{step}", f"base{step}", "x"))
            edit = new(f"edit{step}", f"edit{step}", needs=frozenset({base.object_id}))
            released, added = await asyncio.gather(
                index.release(ALICE, cid(f"base{step}")),
                commit(index, edit, owner=BOB),
                return_exceptions=True,
            )
            assert not isinstance(released, BaseException)
            if isinstance(added, UploadGone):
                assert list(released.keys) == [f"base{step}"]
                assert await located(index, "x") == {}
            else:
                assert not released.keys
                assert await located(index, "x") == {"x": [f"base{step}"]}
                await index.release(BOB, cid(f"edit{step}"))

    async def test_a_sweep_while_uploads_end(self, index: Index) -> None:
        async def sweep() -> None:
            for key in await index.unsettled(0):
                await index.abandon(key)

        keys = [f"k{n}" for n in range(10)]
        for key in keys:
            await index.begin(key)
        ends = await asyncio.gather(
            *(commit(index, new(key, key), begin=False) for key in keys), sweep(), return_exceptions=True
        )
        for key, end in zip(keys, ends, strict=False):
            assert bool(await index.known([key])) == isinstance(end, Committed)
            assert isinstance(end, Committed | UploadGone)


# The two indexes side by side.

NAMES = ["a", "b", "c", "d"]
OWNERS = [ALICE, BOB]
STEPS = st.one_of(
    st.tuples(
        st.just("commit"),
        st.sampled_from(NAMES),
        st.lists(st.sampled_from([*NAMES, "x", "y"]), max_size=3),
        st.sampled_from(OWNERS),
        st.booleans(),
        st.sampled_from([None, *NAMES]),
        st.booleans(),
    ),
    st.tuples(st.just("adopt"), st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=2)),
    st.tuples(st.just("overwrite"), st.sampled_from(NAMES), st.sampled_from([None, *NAMES])),
    st.tuples(st.just("pair"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(OWNERS)),
    st.tuples(st.just("release"), st.sampled_from(NAMES), st.sampled_from(OWNERS)),
    st.tuples(st.just("damage"), st.sampled_from(NAMES)),
    st.tuples(st.just("abandoned"), st.sampled_from(NAMES)),
    st.tuples(st.just("settle")),
)


def unnumbered(key: str) -> str:
    """What was overwritten is named by its number, which differs."""
    return "overwritten" if key.startswith("cidgate/overwritten/") else key


class Player:
    """Plays one sequence of steps on an index; answers name objects by key, not by id."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.keys: dict[int, str] = {}

    async def play(self, number: int, step: Sequence[object]) -> object:
        answer = await getattr(self, f"do_{step[0]}")(f"k{number}", *step[1:])
        return answer, await self.state()

    async def do_commit(
        self, key: str, root: str, blocks: list[str], owner: UUID, partial: bool, on: str | None, seen: bool
    ) -> object:
        closure = await self.index.closure([cid(on).multihash] if on else [])
        one = new(key, root, *blocks, needs=closure.objects, partial=partial or not closure.complete)
        return await self.commit([replace(one, receipt=seen_as(root if seen else "?"))], owner)

    async def do_adopt(self, key: str, root: str, blocks: list[str]) -> object:
        added = await adopt(self.index, theirs(f"their-{root}-{key}", root, *blocks), "name")
        return sorted(added.surplus)

    async def do_overwrite(self, key: str, root: str, by: str | None) -> object:
        stored = await self.index.find(cid(root))
        if stored is None:
            return None
        answer = await self.index.overwritten(stored.key, cid(by) if by else None, ALICE, "name")
        return answer, stored.theirs

    async def do_pair(self, key: str, first: str, second: str, owner: UUID) -> object:
        return await self.commit([new(key + "f", first), new(key + "t", second, "z")], owner)

    async def commit(self, objects: list[NewObject], owner: UUID) -> object:
        added = await commit(self.index, *objects, owner=owner)
        for one in objects:
            stored = await self.index.find(one.root)
            assert stored is not None
            self.keys[stored.object_id] = stored.key
        return sorted(added.surplus)

    async def do_release(self, key: str, root: str, owner: UUID) -> object:
        released = await self.index.release(owner, cid(root))
        return released.found, sorted(released.keys)

    async def do_damage(self, key: str, root: str) -> None:
        stored = await self.index.find(cid(root))
        if stored is not None:
            await self.index.mark_damaged(stored.object_id)

    async def do_abandoned(self, key: str, root: str) -> object:
        await self.index.begin(key)
        await self.index.abandon(key)
        try:
            added = await commit(self.index, new(key, root), begin=False)
        except UploadGone:
            return "gone"
        return list(added.surplus)

    async def do_settle(self, key: str) -> None:
        for unsettled in await self.index.unsettled(0):
            await self.index.settle(unsettled)

    async def state(self) -> Mapping[str, object]:
        names = [*NAMES, "x", "y", "z"]
        found = [await self.index.find(cid(name)) for name in names]
        objects = [
            (unnumbered(one.key), one.damaged, one.partial, one.theirs, one.published)
            for one in found
            if one is not None
        ]
        closures = []
        for name in names:
            closure = await self.index.closure([cid(name).multihash])
            closures.append((closure.complete, len(closure.objects)))
        return {
            "copies": {
                name: [unnumbered(key) for key in copies]
                for name, copies in (await located(self.index, *names)).items()
            },
            "roots": objects,
            "closures": closures,
            "unsettled": sorted(await self.index.unsettled(0)),
        }


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
async def test_both_indexes_answer_alike(pool: Pool, steps: list[Sequence[object]]) -> None:
    await pool.execute(
        "DELETE FROM uploads; DELETE FROM objects; DELETE FROM blocks; DELETE FROM unsettled_objects"
    )
    memory, postgres = Player(MemoryIndex()), Player(PostgresIndex(pool))
    for number, step in enumerate(steps):
        assert await memory.play(number, step) == await postgres.play(number, step), step


class TestPostgres:
    async def test_it_is_said_when_the_database_is_away(self, pool: Pool) -> None:
        index = PostgresIndex(pool)
        await pool.close()
        with pytest.raises(StoreUnavailable):
            await index.locate([b"x"])
        with pytest.raises(StoreUnavailable):
            await commit(index, new("k", "root"))

    async def test_a_connection_that_broke_at_a_bad_moment(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asyncpg.pool.Pool, "_acquire", databases.confused)
        index = PostgresIndex(pool)
        with pytest.raises(StoreUnavailable, match="InternalClientError"):
            await index.locate([b"x"])
        with pytest.raises(StoreUnavailable, match="InternalClientError"):
            await commit(index, new("k", "root"))

    async def test_a_deadlock_is_tried_again(self, pool: Pool) -> None:
        index = PostgresIndex(pool)
        one, two = (int.from_bytes(cid(name).digest[:8], "big", signed=True) for name in ("one", "two"))
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL deadlock_timeout = '20s'")
            await connection.execute("SELECT pg_advisory_xact_lock($1)", two)
            upload = asyncio.create_task(commit(index, new("k1", "one"), new("k2", "two")))
            await asyncio.sleep(0.1)
            await connection.execute("SELECT pg_advisory_xact_lock($1)", one)
        await upload
        assert await located(index, "one", "two") == {"one": ["k1"], "two": ["k2"]}

    async def test_a_release_waits_for_a_commit_to_the_same_upload(self, pool: Pool) -> None:
        """Or what the commit adds would be held by an upload that is gone, and stay for ever."""
        index = PostgresIndex(pool)
        await commit(index, new("k1", "root"))
        upload = NewUpload(ALICE, cid("root"), "", 10)
        async with pool.acquire() as connection, connection.transaction():
            upload_id = (await upload_row(connection, upload)).file_id
            releasing = asyncio.create_task(index.release(ALICE, cid("root")))
            await asyncio.sleep(0.1)
            await connection.execute("INSERT INTO unsettled_objects (key) VALUES ('k2')")
            object_id, _ = await place(connection, new("k2", "other"), frozenset())
            await hold(connection, upload_id, [object_id])
        assert sorted((await releasing).keys) == ["k1", "k2"]
        assert await located(index, "root", "other") == {}

    async def test_many_rows(self, pool: Pool) -> None:
        index = PostgresIndex(pool)
        many = [BlockRow(os.urandom(34), n * 10, 10) for n in range(20_000)]
        await commit(index, NewObject("k", Layout.CAR, cid("root"), 200_000, many))
        found = await index.locate([row.multihash for row in many[:3000]])
        assert len(found) == 3000
        assert list((await index.release(ALICE, cid("root"))).keys) == ["k"]
        assert await pool.fetchval("SELECT count(*) FROM blocks") == 0

    async def test_the_epoch_rises_with_each_deletion(self, pool: Pool) -> None:
        index = PostgresIndex(pool)

        async def epoch() -> int:
            value: int = await pool.fetchval("SELECT epoch FROM cache_epoch")
            return value

        await commit(index, new("k", "root"))
        await commit(index, new("k2", "root"), owner=uuid4())
        assert await epoch() == 0
        await index.release(ALICE, cid("root"))
        assert await epoch() == 0, "somebody else still keeps it"
        await commit(index, new("k3", "other"))
        await index.release(ALICE, cid("other"))
        assert await epoch() == 1
        await adopt(index, theirs("k4", "third"))
        await commit(index, new("k5", "third"))
        assert await epoch() == 2, "it is read from elsewhere now"
        await adopt(index, theirs("k6", "fourth"))
        await index.release(ALICE, cid("fourth"))
        assert await epoch() == 3
        await adopt(index, theirs("k7", "fifth"), "name")
        await index.overwritten("k7", None, ALICE, "name")
        assert await epoch() == 4
