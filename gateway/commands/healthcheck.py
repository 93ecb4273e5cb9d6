"""`cidgate healthcheck`: for containers, which then need no curl."""

from __future__ import annotations

import urllib.error
import urllib.request

import click

from config.settings import Settings

_SECONDS = 4.0


@click.command()
@click.pass_obj
def healthcheck(settings: Settings) -> None:
    """Exit with 0 if the gateway on this machine answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.gateway_host, settings.gateway_host)  # noqa: S104
    url = f"http://{host}:{settings.gateway_port}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:
            click.echo(response.read().decode())
    except (urllib.error.URLError, OSError) as error:
        raise click.ClickException(f"{url} does not answer: {error}") from error
