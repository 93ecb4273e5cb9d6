"""`cidgate import`, `reindex` and `sweep`: content and its index, without HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from config.settings import Settings
from gateway.commands.cars import CAR_SUFFIX, import_car
from gateway.commands.errors import said_plainly
from gateway.context import Gateway
from gateway.wiring import open_gateway, open_reindex
from ipld.unixfs.profiles import PROFILES
from storage.content import Added, Owned
from storage.disk_sources import read_file, tree_entries
from storage.index import OPERATOR
from storage.upload_log import COMMAND_LINE

T = TypeVar("T")


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--partial", is_flag=True, help="Take CARs of which blocks are missing.")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="How files are cut (UNIXFS_PROFILE).")
@click.pass_obj
def import_(settings: Settings, paths: tuple[Path, ...], partial: bool, profile: str | None) -> None:
    """Add each FILE, DIRECTORY or CAR (by its ending) and print its CID, the path beside it."""
    total = sum(_size(path) for path in paths)

    async def work(gateway: Gateway) -> None:
        with click.progressbar(length=total, label="Importing", file=sys.stderr) as bar:
            for path in paths:
                if path.suffix == CAR_SUFFIX and path.is_file():
                    source = read_file(path, bar.update)
                    added = await import_car(gateway, path.name, source, partial=partial)
                else:
                    added = await _import(gateway, path, profile, bar.update)
                for root in (added.cid, *added.more):
                    click.echo(f"{root} {path}")

    _run(settings, work)


@click.command()
@click.option("--from-start", is_flag=True, help="Forget how far an earlier run came, and read all again.")
@click.pass_obj
def reindex(settings: Settings, from_start: bool) -> None:
    """Rebuild the index from the stored objects alone, after a database was lost.

    In a bucket, index what others put there, too: CARs by their name or metadata, the rest as files.
    Cut short, it goes on where it was.
    """

    async def work() -> int:
        async with open_reindex(settings) as rebuild:
            with click.progressbar(length=0, label="Reading objects", file=sys.stderr) as bar:

                def progress(done: int, total: int) -> None:
                    bar.length = total
                    bar.update(done - bar.pos)

                return await rebuild(progress, from_start=from_start)

    with said_plainly():
        found = asyncio.run(work())
    click.echo(f"{found} objects were added to the index.", err=True)


@click.command()
@click.option("--grace", default=0.0, help="Leave alone what is younger than this many seconds.")
@click.pass_obj
def sweep(settings: Settings, grace: float) -> None:
    """Remove what uploads that never finished have left. Uploads under way at this moment fail."""

    async def work(gateway: Gateway) -> None:
        click.echo(f"{await gateway.content.sweep(grace)} objects were removed.", err=True)

    _run(settings, work)


def _run(settings: Settings, work: Callable[[Gateway], Awaitable[T]]) -> T:
    async def opened() -> T:
        async with open_gateway(settings) as gateway:
            return await work(gateway)

    with said_plainly():
        return asyncio.run(opened())


async def _import(
    gateway: Gateway, path: Path, profile: str | None, progress: Callable[[int], None]
) -> Added:
    name = (await asyncio.to_thread(path.absolute)).name
    owned = Owned(OPERATOR, name, PROFILES[profile] if profile else gateway.profile, client=COMMAND_LINE)
    if await asyncio.to_thread(path.is_dir):
        return await gateway.content.add_tree(tree_entries(path, progress), owned)
    return await gateway.content.add_file(read_file(path, progress), owned)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(
        (Path(directory) / name).lstat().st_size for directory, _, files in os.walk(path) for name in files
    )
