"""Putting objects into the index and taking them out: the steps of one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from ipld.cid import Cid
from storage.index import BlockRow, Layout, NewObject, StoredObject, UploadGone, falls_short, forms
from storage.transactions import Connection

# Other processes listen here; the payload is the new epoch.
EPOCH_CHANNEL = "cidgate_epoch"

# A file of a terabyte has millions of rows: they may take longer than a statement otherwise may, and
# so may waiting for them.
BULK_SECONDS = 1800

# With $2 any sound one of ours comes before those of others.
_FIND = """
SELECT id, key, layout, root, size, profile, damaged_at IS NOT NULL AS damaged, partial, theirs, published
FROM objects WHERE root = ANY($1::bytea[])
ORDER BY (damaged_at IS NOT NULL), (theirs AND $2), partial, theirs, id LIMIT 1
"""

# KEY SHARE keeps objects from being released until the hold on them is committed. In the order of
# their ids, as releases lock them, so that neither waits for the other for ever.
_KEEP = """
SELECT id FROM objects
WHERE id IN (SELECT $1::bigint UNION SELECT needs_id FROM object_needs WHERE object_id = $1)
ORDER BY id FOR KEY SHARE
"""

_HOLD = """
INSERT INTO holds (upload_id, object_id)
SELECT $1::uuid, held.id FROM (
    SELECT unnest($2::bigint[]) UNION SELECT needs_id FROM object_needs WHERE object_id = ANY($2::bigint[])
) AS held(id) ORDER BY held.id
ON CONFLICT DO NOTHING
"""

_NEED = """
INSERT INTO object_needs (object_id, needs_id)
SELECT $1::bigint, needed.id FROM (
    SELECT unnest($2::bigint[]) UNION SELECT needs_id FROM object_needs WHERE object_id = ANY($2::bigint[])
) AS needed(id) ORDER BY needed.id
RETURNING needs_id
"""

# Whatever rests on object $1 rests on object $2, and on what that one needs, as well.
_HOLD_INSTEAD = """
INSERT INTO holds (upload_id, object_id)
SELECT upload_id, instead.id FROM holds, (
    SELECT $2::bigint UNION SELECT needs_id FROM object_needs WHERE object_id = $2
) AS instead(id) WHERE holds.object_id = $1
ON CONFLICT DO NOTHING
"""
_NEED_INSTEAD = """
INSERT INTO object_needs (object_id, needs_id)
SELECT object_id, instead.id FROM object_needs, (
    SELECT $2::bigint UNION SELECT needs_id FROM object_needs WHERE object_id = $2
) AS instead(id) WHERE object_needs.needs_id = $1
ON CONFLICT DO NOTHING
"""

_DROP_UNHELD = """
DELETE FROM objects AS o WHERE o.id = ANY($1::bigint[])
AND NOT EXISTS (SELECT FROM holds WHERE holds.object_id = o.id)
RETURNING o.id, o.key, o.theirs
"""


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many objects left the index, and the keys that are to be deleted: none of them is of others."""

    objects: int = 0
    keys: Sequence[str] = ()


async def find(connection: Connection, root: Cid, *, ours_first: bool = False) -> StoredObject | None:
    """The best object with that root."""
    row = await connection.fetchrow(_FIND, forms(root), ours_first)
    if row is None:
        return None
    object_id, key, layout, raw, size, *more = row
    return StoredObject(object_id, key, Layout(layout), Cid.decode(raw), size, *more)


async def _find_and_keep(connection: Connection, new: NewObject) -> StoredObject | None:
    """The best object with that root, which stays until the transaction ends."""
    while (found := await find(connection, new.root, ours_first=not new.theirs)) is not None:
        kept = await connection.fetch(_KEEP, found.object_id)
        if any(row[0] == found.object_id for row in kept):
            return found
    return None


async def hold(connection: Connection, upload_id: UUID, objects: Sequence[int]) -> None:
    """The upload keeps these objects and all that they need."""
    await connection.execute(_HOLD, upload_id, objects)


async def place(connection: Connection, new: NewObject, needs: frozenset[int]) -> tuple[int, Dropped]:
    """The id of the object with that root, and what is superfluous now: the new one or an older one."""
    # Two uploads of one root at once: the second waits here and finds the first one's object.
    lock = int.from_bytes(new.root.digest[:8], "big", signed=True)
    await connection.execute("SELECT pg_advisory_xact_lock($1)", lock, timeout=BULK_SECONDS)
    old = await _find_and_keep(connection, new)
    if old is not None and await _is_twin(connection, old, new):
        return old.object_id, await _give_up(connection, new)
    settled = await connection.fetchval(
        "DELETE FROM unsettled_objects WHERE key = $1 AND NOT abandoned RETURNING 1", new.key
    )
    if settled is None:
        raise UploadGone("the upload took so long that its object was swept away")
    object_id = await _insert_object(connection, new)
    await _copy_rows(connection, object_id, new.rows if new.distinct else _distinct(new.rows))
    needed = await connection.fetch(_NEED, object_id, list(needs))
    if old is None or any(row[0] == old.object_id for row in needed):
        return object_id, Dropped()
    return object_id, await _replace(connection, old.object_id, object_id, new)


async def _give_up(connection: Connection, new: NewObject) -> Dropped:
    if new.theirs:
        await connection.execute("DELETE FROM unsettled_objects WHERE key = $1", new.key)
        return Dropped()
    await connection.execute("UPDATE unsettled_objects SET abandoned = true WHERE key = $1", new.key)
    return Dropped(keys=[new.key])


async def _is_twin(connection: Connection, old: StoredObject, new: NewObject) -> bool:
    """Whether the old object will do in the place of the new one, of which it has everything."""
    if falls_short(old, new):
        return False
    if not old.partial:
        return True
    missing = await connection.fetchval(
        """SELECT count(*) FROM unnest($2::bytea[]) AS new(multihash) WHERE NOT EXISTS
        (SELECT FROM blocks WHERE blocks.multihash = new.multihash AND object_id = $1)""",
        old.object_id,
        [row.multihash for row in new.rows],
    )
    return new.partial and missing == 0


async def _insert_object(connection: Connection, new: NewObject) -> int:
    object_id: int = await connection.fetchval(
        """INSERT INTO objects (key, layout, root, size, profile, partial, theirs, published)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id""",
        new.key,
        int(new.layout),
        new.root.raw,
        new.size,
        new.profile,
        new.partial,
        new.theirs,
        new.published,
    )
    return object_id


def _distinct(rows: Iterable[BlockRow]) -> Iterator[BlockRow]:
    seen: set[bytes] = set()
    for row in rows:
        if row.multihash not in seen:
            seen.add(row.multihash)
            yield row


async def _copy_rows(connection: Connection, object_id: int, rows: Iterable[BlockRow]) -> None:
    await connection.copy_records_to_table(
        "blocks",
        records=((row.multihash, object_id, row.offset, row.length, row.wrapped, row.inline) for row in rows),
        columns=["multihash", "object_id", "offset", "length", "wrapped", "inline"],
        timeout=BULK_SECONDS,
    )


async def _replace(connection: Connection, old: int, new: int, added: NewObject) -> Dropped:
    """Whoever held the old object holds the better one with the same root instead."""
    if added.partial and await connection.fetchval(
        "SELECT EXISTS (SELECT FROM blocks WHERE object_id = $1 AND multihash <> ALL($2::bytea[]))",
        old,
        [row.multihash for row in added.rows],
    ):
        return Dropped()
    await connection.execute(_HOLD_INSTEAD, old, new)
    await connection.execute("DELETE FROM holds WHERE object_id = $1", old)
    await connection.execute(_NEED_INSTEAD, old, new)
    return await drop_unheld(connection, [old])


async def drop_unheld(connection: Connection, candidates: Sequence[int]) -> Dropped:
    """Take the objects that nobody holds out of the index, and note what is to be deleted."""
    # The row locks make a commit that is about to hold one of them wait, and then not find it.
    await connection.execute(
        "SELECT FROM objects WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE", candidates
    )
    gone = await connection.fetch(_DROP_UNHELD, candidates)
    keys = [row["key"] for row in gone if not row["theirs"]]
    if gone:
        ids = [row["id"] for row in gone]
        await connection.execute(
            "DELETE FROM blocks WHERE object_id = ANY($1::bigint[])", ids, timeout=BULK_SECONDS
        )
        await connection.execute(
            "INSERT INTO unsettled_objects (key, abandoned) SELECT unnest($1::text[]), true", keys
        )
    return Dropped(len(gone), keys)


async def raise_epoch(connection: Connection) -> None:
    """Tell every gateway that something went; the last step, because others wait for this row."""
    epoch = await connection.fetchval("UPDATE cache_epoch SET epoch = epoch + 1 RETURNING epoch")
    await connection.execute("SELECT pg_notify($1, $2)", EPOCH_CHANNEL, str(epoch))
