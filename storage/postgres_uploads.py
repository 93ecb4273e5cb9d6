"""The rows of uploads: put in, and taken out with what nobody else holds; both write the upload log."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg

from ipld.cid import Cid
from storage.index import Kept, NewUpload, Released, forms
from storage.postgres_placing import drop_unheld, raise_epoch
from storage.transactions import Connection
from storage.upload_log import Action, LogEntry, Outcome, plain, write

# One statement, so that the log costs no round trip of its own. The longer lifetime counts: whoever
# uploads again without an expiry wants to keep it, and nobody's promise is ever shortened.
_UPLOAD = """
WITH kept AS (
    INSERT INTO uploads (id, owner, root, name, size, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
    ON CONFLICT (owner, root, name) DO UPDATE SET expires_at =
        CASE WHEN uploads.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
        ELSE greatest(uploads.expires_at, excluded.expires_at) END
    RETURNING id, expires_at
), logged AS (
    INSERT INTO upload_log (action, outcome, owner, client, file_id, cid, name, size)
    SELECT 'upload', 'done', $2, $7, id, $8, $4, $5 FROM kept WHERE $7::text IS NOT NULL
)
SELECT id, expires_at FROM kept
"""

_DELETE = "DELETE FROM uploads WHERE id = ANY($1::uuid[]) RETURNING id, owner, root, name, size"

_THEIRS = "SELECT id, root, damaged_at FROM objects WHERE key = $1 AND theirs FOR UPDATE"
# A name that no object has: who still rests on this one finds that it is gone.
_RENAME = """
UPDATE objects SET key = 'cidgate/overwritten/' || id, damaged_at = coalesce(damaged_at, now()) WHERE id = $1
"""
_FILES_IN = """
SELECT id, root FROM uploads WHERE owner = $2 AND name = $3
AND EXISTS (SELECT FROM holds WHERE upload_id = id AND object_id = $1) ORDER BY id FOR UPDATE
"""
_BLOCKS_IN = "SELECT multihash FROM blocks WHERE multihash = ANY($2::bytea[]) AND object_id = $1"


async def upload_row(connection: Connection, upload: NewUpload) -> Kept:
    """The upload's row, which is locked until the transaction ends."""
    row = await connection.fetchrow(
        _UPLOAD,
        uuid4(),
        upload.owner,
        upload.root.raw,
        upload.name,
        upload.size,
        upload.lifetime,
        plain(upload.client),
        str(upload.root),
    )
    assert row is not None
    return Kept(UUID(int=row[0].int), row[1])


async def take_out(
    connection: Connection, ids: Sequence[UUID], action: Action, client: str | None
) -> Released:
    """Delete these rows, which the caller has locked, and the objects that nobody holds without them."""
    if not ids:
        return Released(found=False)
    held = await connection.fetch(
        "SELECT DISTINCT object_id FROM holds WHERE upload_id = ANY($1::uuid[])", ids
    )
    gone = await connection.fetch(_DELETE, ids)
    if client is not None:
        await write(connection, [_entry(row, action, client) for row in gone])
    dropped = await drop_unheld(connection, [row[0] for row in held])
    if dropped.objects:
        await raise_epoch(connection)
    return Released(found=True, keys=dropped.keys, files=len(gone))


async def overwritten(connection: Connection, key: str, root: Cid | None, owner: UUID, name: str) -> bool:
    """Whether others have replaced what is under that key, which then goes."""
    row = await connection.fetchrow(_THEIRS, key)
    if row is None:
        return True
    object_id, old, damaged_at = row
    if root is not None and old in forms(root) and damaged_at is None:
        return False
    await connection.execute(_RENAME, object_id)
    files = await connection.fetch(_FILES_IN, object_id, owner, name)
    roots = {Cid.decode(row[1]).multihash for row in files}
    inside = await connection.fetch(_BLOCKS_IN, object_id, list(roots))
    lost = {row[0] for row in inside}
    ids = [row[0] for row in files if Cid.decode(row[1]).multihash in lost]
    await take_out(connection, ids, Action.DELETE, None)
    return True


def _entry(row: asyncpg.Record, action: Action, client: str) -> LogEntry:
    file_id, owner, root, name, size = row
    return LogEntry(action, Outcome.DONE, owner, client, file_id, str(Cid.decode(root)), name, size)
