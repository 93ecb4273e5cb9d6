"""`cidgate serve`: the gateway, and what it prints when it starts."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import click

from auth.errors import KeyExists
from auth.keys import PREFIX, KeyRequest, Scope, is_well_formed
from config.settings import Settings
from gateway import listen
from gateway.commands.errors import said_plainly
from gateway.context import Gateway
from gateway.formats.welcome_page import Welcome
from gateway.health import program_version
from gateway.logs import set_up_logging
from gateway.sample import SAMPLE, SAMPLE_NAME
from gateway.server import run
from gateway.workers import Workers
from ipld.errors import StoreUnavailable
from storage.content import Added, Owned
from storage.index import OPERATOR

logger = logging.getLogger(__name__)


@click.command()
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes that share the port (WORKERS).")
@click.pass_obj
def serve(settings: Settings, workers: int | None) -> None:
    """Run the gateway until it is told to stop (Ctrl-C)."""
    check_bootstrap_key(settings)
    count = workers or settings.workers
    with said_plainly(), listen.bind(settings.gateway_host, settings.gateway_port) as bound:
        if count > 1:
            port = bound.getsockname()[1]
            sys.exit(Workers(count, port, os.environ, settings.shutdown_grace).run())
        set_up_logging(settings)
        run(settings, bound, lambda gateway: announce(settings, gateway, bound))


def check_bootstrap_key(settings: Settings) -> None:
    """Before anything is made: what begins like a key of ours has a checksum."""
    chosen = settings.bootstrap_api_key
    if chosen is not None and not is_well_formed(chosen.get_secret_value()):
        raise click.ClickException(
            f"BOOTSTRAP_API_KEY begins with {PREFIX}, as keys that cidgate makes do, and is none of them; "
            "choose another beginning"
        )


@click.command(hidden=True)
@click.option("--parent", type=int, required=True)
@click.option("--announce", "first", is_flag=True)
@click.pass_obj
def worker(settings: Settings, parent: int, first: bool) -> None:
    """One of several processes on one port; started by `serve`."""
    set_up_logging(settings)

    async def started(gateway: Gateway) -> None:
        if first:
            await announce(settings, gateway, bound)

    with said_plainly(), listen.share(settings.gateway_host, settings.gateway_port) as bound:
        run(settings, bound, started, parent=parent)


async def announce(settings: Settings, gateway: Gateway, bound: socket.socket) -> None:
    """Print where the gateway is, and a first call that works when pasted. Secrets once, on first start."""
    url = _url(settings, bound)
    secret = await first_key(settings, gateway)
    sample = await _add_sample(gateway)
    lines = [f"cidgate {program_version()}   data {_place(settings)}   {_stores(settings)}"]
    if secret is not None:
        lines += [
            f" Key      {secret}",
            "          shown once: keep it. `cidgate keys create` makes more.",
        ]
    if sample is not None:
        verifiable_only = not settings.deserialized_responses
        welcome = Welcome(url, program_version(), str(sample.cid), verifiable_only)
        lines.append(f" Read     {welcome.read}")
    lines += [
        f' Upload   curl -T photo.jpg -H "Authorization: Bearer {secret or "$KEY"}" {url}/ipfs/',
        f" Health   {url}/readyz   Metrics {url}/metrics",
        f" Gateway  {url}   (Ctrl-C stops)",
    ]
    click.echo("\n".join(lines), err=True)


def _url(settings: Settings, bound: socket.socket) -> str:
    """How the gateway is reached from here."""
    if settings.strict_hosts and settings.public_url is None:
        # The address is no host that is served then, and this name is one unless PUBLIC_GATEWAYS says no.
        return f"http://localhost:{bound.getsockname()[1]}"
    return (settings.public_url or listen.url_of(bound)).rstrip("/")


async def _add_sample(gateway: Gateway) -> Added | None:
    """None where the store is away: it may come back, and others read from the caches meanwhile."""
    try:
        return await gateway.content.add_file(_sample(), Owned(OPERATOR, SAMPLE_NAME, gateway.profile))
    except StoreUnavailable as error:
        logger.warning("the sample file could not be stored: %s", error)
        return None


def _place(settings: Settings) -> str:
    if settings.uses_s3:
        return f"bucket {settings.filebase_bucket_name} at {settings.filebase_endpoint_url}"
    return str(settings.data_dir.resolve())


def _stores(settings: Settings) -> str:
    database = "your Postgres" if settings.database_url else "embedded Postgres"
    cache = "memory, Redis" if settings.redis_url else "memory"
    return f"database {database}   cache {cache}"


async def first_key(settings: Settings, gateway: Gateway) -> str | None:
    """Make the first API key where there is none; its secret if it was made up here."""
    if await gateway.keys.list():
        return None
    chosen = settings.bootstrap_api_key
    request = KeyRequest("first", frozenset(Scope))
    if chosen is not None:
        request = replace(request, secret=chosen.get_secret_value())
    try:
        new = await gateway.keys.create(request)
    except KeyExists:  # Another gateway, started at the same moment with the same setting, was first.
        return None
    return None if chosen is not None else new.secret


async def _sample() -> AsyncIterator[bytes]:
    yield SAMPLE
