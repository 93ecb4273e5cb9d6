"""`cidgate keys`: make, list and revoke API keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click

from auth.keys import ApiKey, ApiKeys, KeyRequest, Scope
from auth.postgres import PostgresKeys
from config.example import duration_text
from config.settings import Settings
from config.values import parse_duration
from gateway.commands.errors import said_plainly
from gateway.retention import MAX_SECONDS
from gateway.wiring import open_pool

T = TypeVar("T")


class DurationType(click.ParamType[float]):
    """As in the settings: `12h`, `30d`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 1 <= seconds <= MAX_SECONDS:
            self.fail(f"from 1 second to {MAX_SECONDS / 86400:.0f} days", param, ctx)
        return seconds


@click.group()
def keys() -> None:
    """API keys: whoever has one may upload."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=("read", "upload", "delete"),
    show_default=True,
    help="What the key may do; may be given several times.",
)
@click.option(
    "--expires-in", "days", type=click.FloatRange(min=0, min_open=True), help="Days until the key ends."
)
@click.option(
    "--uploads-expire-in",
    "keep",
    type=DurationType(),
    help="How long what is uploaded with the key is kept, such as 30d, unless an upload says otherwise;"
    " for ever by default.",
)
@click.pass_obj
def create(
    settings: Settings, name: str, scopes: tuple[str, ...], days: float | None, keep: float | None
) -> None:
    """Make a key called NAME and print its secret, which is not shown again."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    request = KeyRequest(name, frozenset(map(Scope, scopes)), expires_at, uploads_expire_in=keep)
    new = _with_keys(settings, lambda store: store.create(request))
    click.echo(new.secret)
    click.echo(
        f"Key {name!r} may {', '.join(sorted(scopes))}. Keep the line above: it is shown once.", err=True
    )


@keys.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """Print every key, without its secret."""
    found = _with_keys(settings, lambda store: store.list())
    click.echo(f"{'ID':<38}{'NAME':<20}{'BEGINS':<14}{'SCOPES':<28}{'LAST USED':<20}{'UPLOADS':<12}STATE")
    for key in found:
        click.echo(_row(key))


@keys.command()
@click.argument("key")
@click.pass_obj
def revoke(settings: Settings, key: str) -> None:
    """End a KEY, given by its id, its name or how it begins. Acts within a second."""
    gone = _with_keys(settings, lambda store: store.revoke(key))
    click.echo(f"{gone.name} ({gone.prefix}…) is revoked.", err=True)


def _row(key: ApiKey) -> str:
    scopes = ",".join(sorted(key.scopes))
    used = _day(key.last_used_at) or "never"
    kept = "kept" if key.uploads_expire_in is None else f"for {duration_text(key.uploads_expire_in)}"
    known = f"{key.id!s:<38}{_printable(key.name):<20}{key.prefix + '…':<14}{scopes:<28}"
    return f"{known}{used:<20}{kept:<12}{_state(key)}"


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "good"
    return f"{'good until' if key.is_good(datetime.now(UTC)) else 'expired'} {_day(key.expires_at)}"


def _day(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment is not None else ""


def _with_keys(settings: Settings, work: Callable[[ApiKeys], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _open_keys(settings) as store:
            return await work(store)

    with said_plainly():
        return asyncio.run(run())


@asynccontextmanager
async def _open_keys(settings: Settings) -> AsyncIterator[ApiKeys]:
    async with open_pool(settings) as pool:
        yield PostgresKeys(pool)
