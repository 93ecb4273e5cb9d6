"""What the IPNS commands work on, and the names that they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from config.settings import Settings
from gateway.commands.errors import said_plainly
from gateway.ipns_wiring import Ipns, open_ipns
from gateway.wiring import open_pool
from ipld.errors import InvalidName
from ipld.ipns_name import IpnsName

T = TypeVar("T")


class NameType(click.ParamType[IpnsName]):
    """An IPNS name in any form, with or without `/ipns/`."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> IpnsName:
        try:
            return IpnsName.parse(str(value).removeprefix("/ipns/"))
        except InvalidName as error:
            self.fail(str(error), param, ctx)


def with_ipns(settings: Settings, work: Callable[[Ipns], Awaitable[T]]) -> T:
    """Do the work over the stores that the settings name, beside a running gateway or without one."""

    async def opened() -> T:
        async with open_pool(settings) as pool, open_ipns(settings, pool) as ipns:
            return await work(ipns)

    with said_plainly():
        return asyncio.run(opened())
