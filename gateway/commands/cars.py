"""`cidgate export`, and what `cidgate import` does with a CAR."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

import click

from config.settings import Settings
from gateway.commands.errors import said_plainly
from gateway.context import Gateway
from gateway.wiring import open_gateway
from ipld.car_stream import dag_car
from ipld.cid import Cid
from ipld.errors import InvalidCid
from ipld.pieces import buffers
from storage.car_import import CarTerms
from storage.content import Added, Owned
from storage.index import OPERATOR
from storage.upload_log import COMMAND_LINE

CAR_SUFFIX = ".car"


async def import_car(gateway: Gateway, name: str, source: AsyncIterator[bytes], *, partial: bool) -> Added:
    """Add the CAR; `partial` takes one of which parts are missing."""
    terms = CarTerms(partial=partial, max_blocks=gateway.limits.car_blocks)
    return await gateway.content.add_car(source, Owned(OPERATOR, name, client=COMMAND_LINE), terms)


class _CidType(click.ParamType[Cid]):
    name = "cid"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Cid:
        try:
            return Cid.parse(str(value).removeprefix("/ipfs/"))
        except InvalidCid as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("cid", type=_CidType())
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file to write to.")
@click.pass_obj
def export(settings: Settings, cid: Cid, output: Path | None) -> None:
    """Write CID and all that it links to as a CAR, to standard output or a file."""
    if output is None and sys.stdout.isatty():
        raise click.UsageError("a CAR is no text: name a file with -o, or send the output to one")
    with said_plainly():
        if output is None:
            asyncio.run(_export(settings, cid, sys.stdout.buffer))
            return
        # Under another name until it is whole: a cut CAR must not look like one.
        unfinished = output.with_name(output.name + ".unfinished")
        try:
            with unfinished.open("wb") as file:
                asyncio.run(_export(settings, cid, file))
            unfinished.replace(output)
        finally:
            unfinished.unlink(missing_ok=True)


async def _export(settings: Settings, cid: Cid, file: BinaryIO) -> None:
    async with open_gateway(settings) as gateway, aclosing(buffers(dag_car(gateway.blocks, cid))) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
