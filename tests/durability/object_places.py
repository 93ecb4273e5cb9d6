"""Where the kill loop lets the gateway keep its objects: a folder, or a bucket of a real S3 server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from storage.filebase_bucket import PROBE_KEY
from storage.s3 import open_s3
from storage.s3_account import S3Account
from tests.storage import s3_servers

MIB = 1024 * 1024


@dataclass(frozen=True)
class Stored:
    """The keys of objects, and the names of what was begun and is not finished."""

    keys: set[str]
    unfinished: set[str]


@dataclass(frozen=True)
class Place:
    """`settings` make a gateway use it; `largest` is the size of the largest upload that is tried, and
    `longest` for how many seconds uploads go on before a kill."""

    look: Callable[[], Stored]
    settings: Mapping[str, str] = field(default_factory=dict)
    largest: int = 6 * MIB
    longest: float = 1.2


def folder(data: Path) -> Place:
    """The one that a gateway has in its DATA_DIR."""
    objects = data / "objects"

    def look() -> Stored:
        files = {path.relative_to(objects).as_posix() for path in objects.rglob("*") if path.is_file()}
        return Stored(
            {name for name in files if not name.startswith(".")},
            {name for name in files if name.startswith(".incoming/")},
        )

    return Place(look)


@contextmanager
def bucket(data: Path, server: str | None = None) -> Iterator[Place]:
    """Of the server with that binary (versitygw), or of moto. Uploads are of up to five parts."""
    opening = s3_servers.moto_server() if server is None else s3_servers.versity_server(server, data / "s3")
    with opening as url:
        account = s3_servers.account_of(url)
        asyncio.run(s3_servers.make_bucket(account))
        settings = {
            "FILEBASE_ENDPOINT_URL": url,
            "FILEBASE_BUCKET_NAME": account.bucket,
            "FILEBASE_IPFS_API_KEY": account.key_id,
            "FILEBASE_IPFS_API_SECRET": account.secret,
            "UNIXFS_PROFILE": "unixfs-v1-2025",
            "S3_PART_BYTES": str(5 * MIB),
            # A bucket that said no CID for so long gives none: later starts do not wait for it.
            "FILEBASE_CID_TIMEOUT": "1s",
        }
        yield Place(lambda: asyncio.run(_look(account)), settings, largest=25 * MIB, longest=2.5)


async def _look(account: S3Account) -> Stored:
    async with open_s3(account) as objects:
        keys = {info.key async for info in objects.list()}
        uploads = await objects._client.open_uploads()
    return Stored(keys - {PROBE_KEY}, {each.key for each in uploads})
