"""`cidgate ipns`: records of any name, and publishing under names of ours."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from config.settings import Settings
from gateway.commands.ipns_keys import key
from gateway.commands.ipns_stores import NameType, with_ipns
from gateway.ipns_wiring import Ipns
from gateway.publishing import description, terms_of
from gateway.refusals import BadRequest
from ipld.ipns_name import IpnsName
from ipld.ipns_record import MAX_BYTES, IpnsRecord
from ipld.rfc3339 import write
from storage.index import OPERATOR


@click.group()
def ipns() -> None:
    """Names that point to content, and may point elsewhere tomorrow."""


ipns.add_command(key)


@ipns.command()
@click.argument("name", type=NameType())
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def put(settings: Settings, name: IpnsName, file: BinaryIO) -> None:
    """Keep the record in FILE (- for standard input) for NAME, if it is genuine and none is newer."""
    # One byte more shows that it is too long.
    raw = file.read(MAX_BYTES + 1)
    record = with_ipns(settings, lambda ipns: ipns.names.put(name, raw))
    click.echo(f"/ipns/{name} {record.path()}")


@ipns.command()
@click.argument("name", type=NameType())
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file for the record."
)
@click.pass_obj
def get(settings: Settings, name: IpnsName, output: Path | None) -> None:
    """Print what the record of NAME says, or write it to a file."""
    current = with_ipns(settings, lambda ipns: ipns.names.current(name))
    if output is not None:
        output.write_bytes(current.record.raw)
        return
    _print({"name": name, **_says(current.record)})


@ipns.command()
@click.argument("key_name", metavar="KEY")
@click.argument("value", metavar="PATH")
@click.option("--lifetime", help="How long the record is valid, as 48h (IPNS_RECORD_LIFETIME).")
@click.option("--ttl", help="How long it may be cached, as 5m (IPNS_RECORD_TTL).")
@click.pass_obj
def publish(settings: Settings, key_name: str, value: str, lifetime: str | None, ttl: str | None) -> None:
    """Let the name of KEY point to PATH, which is a CID, /ipfs/… or /ipns/…; the key is made if need be."""
    asked = {name: text for name, text in (("lifetime", lifetime), ("ttl", ttl)) if text is not None}

    async def work(ipns: Ipns) -> tuple[dict[str, object], dict[str, str | None]]:
        publisher = ipns.publisher
        terms = terms_of(asked, publisher.terms)
        publisher.check(value, terms)
        key, _ = await publisher.key_of(key_name, OPERATOR, admin=True)
        record = await publisher.publish(key, value, terms)
        return description(key, record), dict(await publisher.announce(key.name, record))

    try:
        said, announced = with_ipns(settings, work)
    except BadRequest as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"/ipns/{said['name']} {said['value']}")
    click.echo(
        f"key {said['key']}, sequence {said['sequence']}, TTL {said['ttl']} s, valid until {said['eol']}",
        err=True,
    )
    for url, problem in announced.items():
        click.echo(f"{url}: {problem or 'took it'}", err=True)


def _says(record: IpnsRecord) -> dict[str, object]:
    return {
        "value": str(record.path()),
        "sequence": record.sequence,
        "eol": write(record.eol).decode(),
        "ttl": record.ttl_seconds,
    }


def _print(said: dict[str, object]) -> None:
    for field, value in said.items():
        shown = "".join(char if char.isprintable() else "?" for char in str(value))
        click.echo(f"{field:<10}{shown}")
