"""`cidgate ipns key`: the private keys that names of ours are signed with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import click

from auth.keys import choose
from auth.postgres import PostgresKeys
from config.settings import Settings
from gateway.commands.ipns_stores import with_ipns
from gateway.ipns_wiring import Ipns
from gateway.wiring import open_pool
from ipld.libp2p_keys import MAX_PRIVATE_BYTES, KeyType, PrivateKey
from naming.named_keys import NamedKey
from storage.index import OPERATOR

_FOR = (
    "The API key that may publish under it, by id, name or how it begins; unset: the command line and admins."
)


@click.group()
def key() -> None:
    """Keys made and kept here, encrypted under IPNS_KEY_SECRET."""


@key.command()
@click.argument("label")
@click.option("--for", "api_key", help=_FOR)
@click.option(
    "--type",
    "kind",
    type=click.Choice([kind.name.lower() for kind in KeyType]),
    default="ed25519",
    show_default=True,
    help="What the key is.",
)
@click.pass_obj
def create(settings: Settings, label: str, api_key: str | None, kind: str) -> None:
    """Make a key called LABEL and print its IPNS name."""

    async def work(ipns: Ipns) -> NamedKey:
        owner = await _owner(settings, api_key)
        return await ipns.publisher.ring.create(label, owner, KeyType[kind.upper()])

    click.echo(with_ipns(settings, work).name)


@key.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """Print every key: what it is called, its IPNS name and whose it is."""
    for one in with_ipns(settings, lambda ipns: ipns.publisher.ring.keys.list()):
        owner = "operator" if one.owner == OPERATOR else one.owner
        click.echo(f"{one.label:<24}{one.name!s:<64}{owner}")


@key.command()
@click.argument("label")
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A new file."
)
@click.pass_obj
def export(settings: Settings, label: str, output: Path) -> None:
    """Write the private key LABEL to a file, unencrypted, in the format of `ipfs key export`."""

    async def work(ipns: Ipns) -> bytes:
        ring = ipns.publisher.ring
        return (await ring.open(await ring.find(label))).encode()

    plain = with_ipns(settings, work)
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(plain)
    click.echo(f"Whoever has {output} can publish under this name.", err=True)


@key.command("import")
@click.argument("label")
@click.argument("file", type=click.File("rb"))
@click.option("--for", "api_key", help=_FOR)
@click.pass_obj
def import_(settings: Settings, label: str, file: BinaryIO, api_key: str | None) -> None:
    """Keep the private key in FILE, as `ipfs key export` writes it, as LABEL, and print its IPNS name."""
    # One byte more shows that it is too long.
    raw = file.read(MAX_PRIVATE_BYTES + 1)

    async def work(ipns: Ipns) -> NamedKey:
        owner = await _owner(settings, api_key)
        return await ipns.publisher.ring.add(label, owner, PrivateKey.decode(raw))

    click.echo(with_ipns(settings, work).name)


@key.command()
@click.argument("label")
@click.argument("api_key")
@click.pass_obj
def give(settings: Settings, label: str, api_key: str) -> None:
    """Let API_KEY publish under LABEL, and nobody else: for when an API key is replaced by another."""

    async def work(ipns: Ipns) -> None:
        await ipns.publisher.ring.keys.give(label, await _owner(settings, api_key))

    with_ipns(settings, work)
    click.echo(f"{label} belongs to {api_key} now.", err=True)


async def _owner(settings: Settings, api_key: str | None) -> UUID:
    if api_key is None:
        return OPERATOR
    async with open_pool(settings) as pool:
        return choose(await PostgresKeys(pool).list(), api_key).id
