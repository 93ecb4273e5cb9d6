"""`cidgate cleanup`: what has expired goes now, or is shown."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click

from config.settings import Settings
from gateway.commands.errors import said_plainly
from gateway.context import Gateway
from gateway.formats.pages import human_size, visible
from gateway.wiring import open_gateway
from storage.files import KeptFile, Place
from storage.retention import clean_up

_PAGE = 1000


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.pass_obj
def cleanup(settings: Settings, dry_run: bool) -> None:
    """Let go of every file that has expired, as a running gateway does each day (CLEANUP_TIME)."""

    async def opened() -> None:
        async with open_gateway(settings) as gateway:
            await (_show(gateway) if dry_run else _clean(gateway))

    with said_plainly():
        asyncio.run(opened())


async def _clean(gateway: Gateway) -> None:
    files = objects = 0
    async with aclosing(clean_up(gateway.content, gateway.files)) as batches:
        async for cleaned in batches:
            files, objects = files + cleaned.files, objects + cleaned.objects
    click.echo(f"{files} files were let go of; {objects} objects that nobody else held went.", err=True)


async def _show(gateway: Gateway) -> None:
    """One line for each: when it expired, the CID, the size, the key's id and the name."""
    count, after = 0, None
    while page := await gateway.files.expired(after, _PAGE):
        for file in page:
            click.echo(_line(file))
        count += len(page)
        assert page[-1].expires_at is not None
        after = Place(page[-1].expires_at, page[-1].file_id)
    freed = await gateway.files.freed()
    click.echo(
        f"{count} files would be let go of; {freed.objects} objects that nobody else holds would go"
        f" ({human_size(freed.size)}).",
        err=True,
    )


def _line(file: KeptFile) -> str:
    assert file.expires_at is not None
    return f"{file.expires_at:%Y-%m-%d %H:%M} {file.root} {file.size} {file.owner} {visible(file.name)}"
