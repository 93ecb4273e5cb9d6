"""What both lists of files promise, and that they answer alike."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from ipld.cid import DAG_PB, RAW, Cid
from storage import postgres_files
from storage.content import Content, Owned
from storage.files import CLEANUP, FileQuery, Files, Freed, KeptFile, Match, Place
from storage.index import Index, Kept
from storage.memory_files import MemoryFiles
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.packed import PackedBlocks
from storage.postgres_files import PostgresFiles
from storage.postgres_index import PostgresIndex
from storage.upload_log import Action, LogEntry, Outcome
from tests.storage.conftest import emptied
from tests.storage.stores import pieces

ALICE, BOB = UUID(int=1), UUID(int=2)
SOON = 0.05


@dataclass
class Shelf:
    """Content whose files are looked at."""

    index: Index
    files: Files
    objects: MemoryObjects

    @property
    def content(self) -> Content:
        return Content(self.objects, self.index, PackedBlocks(self.objects, self.index))

    async def add(
        self, data: bytes, name: str = "", owner: UUID = ALICE, lifetime: float | None = None
    ) -> Kept:
        owned = Owned(owner, name, lifetime=lifetime, client="192.0.2.1")
        added = await self.content.add_file(pieces(data), owned)
        assert added.file_id is not None
        return Kept(added.file_id, added.expires_at)

    async def page(self, owner: UUID = ALICE, **more: object) -> list[KeptFile]:
        return list(await self.files.page(FileQuery(owner, **more)))  # type: ignore[arg-type]

    async def names(self, owner: UUID = ALICE, **more: object) -> list[str]:
        return [file.name for file in await self.page(owner, **more)]

    async def log(self) -> list[LogEntry]:
        """Without the times."""
        if isinstance(self.index, MemoryIndex):
            return self.index.log
        assert isinstance(self.index, PostgresIndex)
        rows = await self.index._pool.fetch(
            "SELECT action, outcome, owner, client, file_id, cid, name, size, reason, at FROM upload_log"
            " ORDER BY id"
        )
        return [LogEntry(Action(row[0]), Outcome(row[1]), *row[2:]) for row in rows]


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    if request.param == "memory":
        index = MemoryIndex()
        yield Shelf(index, MemoryFiles(index), MemoryObjects())
        return
    async with emptied(request.getfixturevalue("shared_database")) as pool:
        await pool.execute("DELETE FROM upload_log")
        yield Shelf(PostgresIndex(pool), PostgresFiles(pool), MemoryObjects())


async def test_what_was_uploaded_is_listed_the_newest_first(shelf: Shelf) -> None:
    one = await shelf.add(b"one", "1.txt")
    two = await shelf.add(b"two!", "2.txt")
    await shelf.add(b"bob's", "3.txt", BOB)
    newest, oldest = await shelf.page()
    assert (newest.file_id, newest.name, newest.size, newest.owner) == (two.file_id, "2.txt", 4, ALICE)
    assert (oldest.file_id, oldest.root, oldest.expires_at) == (one.file_id, Cid.of(b"one", RAW), None)
    assert newest.created_at > oldest.created_at
    assert await shelf.files.find(ALICE, one.file_id) == oldest


async def test_a_name_of_any_length_and_kind(shelf: Shelf) -> None:
    """An index of Postgres takes no more than 2704 bytes of random text in a row."""
    name = "".join(random.Random(1).choices([chr(0x10000 + at) for at in range(4000)], k=5000))
    await shelf.add(b"x", name)
    await shelf.add(b"y", "\udcff\0")
    assert await shelf.names() == ["??", name[:500]]
    assert await shelf.names(name=name[:500]) == [name[:500]]


async def test_nobody_sees_or_takes_what_another_owner_has(shelf: Shelf) -> None:
    one = await shelf.add(b"one")
    assert await shelf.page(BOB) == []
    assert await shelf.files.find(BOB, one.file_id) is None
    assert not (await shelf.files.release(BOB, one.file_id, None)).found
    assert not (await shelf.files.release(ALICE, uuid4(), None)).found
    assert await shelf.names() == [""]


async def test_pages_go_on_where_the_last_one_ended(shelf: Shelf) -> None:
    for number in range(7):
        await shelf.add(str(number).encode(), str(number))
    seen: list[str] = []
    after: Place | None = None
    while page := await shelf.page(after=after, limit=3):
        seen += [file.name for file in page]
        after = Place(page[-1].created_at, page[-1].file_id)
        # What is uploaded again meanwhile keeps its place, and what is new comes before the first page.
        await shelf.add(b"3", "3")
        await shelf.add(str(after).encode(), "new")
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("name", "match", "found"),
    [
        ("a.txt", Match.EXACT, ["a.txt"]),
        ("A.txt", Match.EXACT, []),
        ("A.TXT", Match.IEXACT, ["a.txt"]),
        (".txt", Match.PARTIAL, ["50%_of.txt", "a.txt"]),
        ("%", Match.PARTIAL, ["50%_of.txt"]),
        ("_", Match.PARTIAL, ["50%_of.txt"]),
        (".TXT", Match.IPARTIAL, ["50%_of.txt", "a.txt"]),
        ("", Match.EXACT, [""]),
        ("", Match.PARTIAL, ["", "B.png", "50%_of.txt", "a.txt"]),
        ("a\0b", Match.EXACT, []),
        ("\udcff", Match.PARTIAL, []),
        ("x" * 5000, Match.EXACT, []),
    ],
)
async def test_filtered_by_name(shelf: Shelf, name: str, match: Match, found: list[str]) -> None:
    for each in ("a.txt", "50%_of.txt", "B.png", ""):
        await shelf.add(each.encode() + b"?", each)
    assert await shelf.names(name=name, match=match) == found


@pytest.mark.parametrize(
    ("name", "match", "found"),
    [
        ("été.TXT", Match.IEXACT, ["ÉTÉ.txt"]),
        ("ete.txt", Match.IEXACT, []),
        ("été.txt", Match.EXACT, []),
        ("тé", Match.IPARTIAL, []),
        ("té", Match.IPARTIAL, ["ÉTÉ.txt"]),
        ("ЖУРНАЛ", Match.IPARTIAL, ["журнал 1"]),
        ("ασα", Match.IPARTIAL, ["ΣΑΣΑ"]),
        ("ΑΣ", Match.IPARTIAL, ["ΣΑΣΑ"]),
    ],
)
async def test_the_case_of_every_alphabet(shelf: Shelf, name: str, match: Match, found: list[str]) -> None:
    """Whatever the locale of the database: that of the embedded one knows ASCII alone."""
    for each in ("ÉTÉ.txt", "журнал 1", "ΣΑΣΑ"):
        await shelf.add(each.encode(), each)
    assert await shelf.names(name=name, match=match) == found


async def test_a_database_without_collations(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own locale decides then."""
    monkeypatch.setattr(postgres_files, "_COLLATIONS", ("none",))
    await shelf.add(b"a", "A.txt")
    assert await shelf.names(name="a.TXT", match=Match.IEXACT) == ["A.txt"]


async def test_filtered_by_root_in_any_form(shelf: Shelf) -> None:
    await shelf.add(b"one", "one")
    await shelf.add(b"one", "uno")
    await shelf.add(b"two", "two")
    assert await shelf.names(root=Cid.of(b"one", RAW)) == ["uno", "one"]
    assert await shelf.names(root=Cid.of(b"none", RAW)) == []
    assert await shelf.names(root=Cid.of(b"one", RAW), name="one") == ["one"]
    assert await shelf.names(root=Cid.of(b"one", DAG_PB, 0)) == []


async def test_content_goes_with_the_last_file_of_it(shelf: Shelf) -> None:
    one = await shelf.add(b"same", "one")
    two = await shelf.add(b"same", "two")
    bobs = await shelf.add(b"same", "bob", BOB)
    [key] = shelf.objects.data
    assert not (await shelf.content.let_go(shelf.files.release(ALICE, one.file_id, None))).keys
    assert not (await shelf.content.let_go(shelf.files.release(BOB, bobs.file_id, None))).keys
    assert key in shelf.objects.data
    assert (await shelf.content.let_go(shelf.files.release(ALICE, two.file_id, None))).keys == [key]
    assert not shelf.objects.data
    assert not await shelf.index.unsettled(0)


class TestExpiry:
    async def test_it_is_told(self, shelf: Shelf) -> None:
        kept = await shelf.add(b"x", lifetime=3600)
        [file] = await shelf.page()
        assert file.expires_at == kept.expires_at
        assert file.expires_at is not None
        assert 3599 < (file.expires_at - file.created_at).total_seconds() < 3601

    @pytest.mark.parametrize(
        ("first", "second", "counts"),
        [(3600, None, None), (None, 3600, None), (3600, 60, 3600), (60, 3600, 3600), (None, None, None)],
    )
    async def test_the_longest_counts(
        self, shelf: Shelf, first: float | None, second: float | None, counts: float | None
    ) -> None:
        one = await shelf.add(b"x", "n", lifetime=first)
        two = await shelf.add(b"x", "n", lifetime=second)
        assert one.file_id == two.file_id
        [file] = await shelf.page()
        assert file.expires_at == two.expires_at
        if counts is None:
            assert file.expires_at is None
        else:
            assert file.expires_at is not None
            assert abs((file.expires_at - file.created_at).total_seconds() - counts) < 1

    async def test_only_what_has_expired_goes(self, shelf: Shelf) -> None:
        await shelf.add(b"old", "old", lifetime=SOON)
        await shelf.add(b"young", "young", lifetime=3600)
        await shelf.add(b"kept", "kept")
        await asyncio.sleep(SOON * 1.5)
        [old] = await shelf.files.expired(None, 10)
        assert old.name == "old"
        assert await shelf.files.freed() == Freed(1, 3)
        released = await shelf.content.let_go(shelf.files.expire(10))
        assert (released.found, released.files, len(released.keys)) == (True, 1, 1)
        assert await shelf.names() == ["kept", "young"]
        assert len(shelf.objects.data) == 2
        assert await shelf.files.freed() == Freed(0, 0)

    async def test_content_that_another_keeps_stays(self, shelf: Shelf) -> None:
        await shelf.add(b"same", "mine", lifetime=SOON)
        await shelf.add(b"same", "bob's", BOB)
        await shelf.add(b"alone", "alone", lifetime=SOON)
        await asyncio.sleep(SOON * 1.5)
        assert await shelf.files.freed() == Freed(1, 5)
        released = await shelf.content.let_go(shelf.files.expire(10))
        assert (released.files, len(released.keys)) == (2, 1)
        assert await shelf.names() == []
        assert await shelf.names(BOB) == ["bob's"]
        blocks = PackedBlocks(shelf.objects, shelf.index)
        assert await blocks.get(Cid.of(b"same", RAW)) == b"same"

    async def test_again_without_an_expiry_after_it_expired(self, shelf: Shelf) -> None:
        await shelf.add(b"x", "n", lifetime=SOON)
        await asyncio.sleep(SOON * 1.5)
        await shelf.add(b"x", "n")
        assert not (await shelf.files.expire(10)).found
        assert await shelf.names() == ["n"]

    async def test_under_another_name_it_is_another_file(self, shelf: Shelf) -> None:
        await shelf.add(b"x", "short", lifetime=SOON)
        await shelf.add(b"x", "long")
        await asyncio.sleep(SOON * 1.5)
        assert not (await shelf.content.let_go(shelf.files.expire(10))).keys
        assert await shelf.names() == ["long"]

    async def test_in_parts(self, shelf: Shelf) -> None:
        for number in range(5):
            await shelf.add(str(number).encode(), str(number), lifetime=SOON)
        await asyncio.sleep(SOON * 1.5)
        first, second = await shelf.files.expired(None, 2)
        assert (first.name, second.name) == ("0", "1")
        assert second.expires_at is not None
        rest = await shelf.files.expired(Place(second.expires_at, second.file_id), 10)
        assert [file.name for file in rest] == ["2", "3", "4"]
        gone = [(await shelf.files.expire(2)).files for _ in range(4)]
        assert gone == [2, 2, 1, 0]


class TestLog:
    async def test_who_what_size_and_from_where(self, shelf: Shelf) -> None:
        kept = await shelf.add(b"hello", "a\0.txt")
        await shelf.files.release(ALICE, kept.file_id, "198.51.100.7")
        again = await shelf.add(b"hello", "b")
        await shelf.index.release(ALICE, Cid.of(b"hello", RAW), "::1")
        short = await shelf.add(b"y", "c", lifetime=SOON)
        await asyncio.sleep(SOON * 1.5)
        await shelf.files.expire(10)
        cid = str(Cid.of(b"hello", RAW))
        assert [
            (entry.action, entry.outcome, entry.owner, entry.client, entry.file_id, entry.name, entry.size)
            for entry in await shelf.log()
        ] == [
            (Action.UPLOAD, Outcome.DONE, ALICE, "192.0.2.1", kept.file_id, "a?.txt", 5),
            (Action.DELETE, Outcome.DONE, ALICE, "198.51.100.7", kept.file_id, "a?.txt", 5),
            (Action.UPLOAD, Outcome.DONE, ALICE, "192.0.2.1", again.file_id, "b", 5),
            (Action.DELETE, Outcome.DONE, ALICE, "::1", again.file_id, "b", 5),
            (Action.UPLOAD, Outcome.DONE, ALICE, "192.0.2.1", short.file_id, "c", 1),
            (Action.EXPIRE, Outcome.DONE, ALICE, CLEANUP, short.file_id, "c", 1),
        ]
        assert {entry.cid for entry in (await shelf.log())[:4]} == {cid}

    async def test_what_is_not_to_be_logged(self, shelf: Shelf) -> None:
        added = await shelf.content.add_file(pieces(b"x"), Owned(ALICE, ""))
        assert added.file_id is not None
        await shelf.files.release(ALICE, added.file_id, None)
        assert await shelf.log() == []
