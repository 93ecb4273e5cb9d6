"""The `cidgate` command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from config.environment import read_environment
from config.errors import SettingsError
from config.settings import Settings
from gateway.commands.cars import export
from gateway.commands.cleanup import cleanup
from gateway.commands.healthcheck import healthcheck
from gateway.commands.ipns import ipns
from gateway.commands.keys import keys
from gateway.commands.serve import serve, worker
from gateway.commands.storage import import_, reindex, sweep
from gateway.health import program_version


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(program_version(), prog_name="cidgate")
@click.pass_context
def cli(context: click.Context) -> None:
    """A self-hosted IPFS gateway: read by CID, upload with a key.

    Every setting is an environment variable, or a line of a file `.env` in this folder; `.env.example`
    names them all.
    """
    if "-h" not in sys.argv and "--help" not in sys.argv:
        context.obj = _settings()


def _settings() -> Settings:
    try:
        return Settings.from_env(read_environment(Path.cwd(), os.environ))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


for command in (serve, worker, healthcheck, keys, ipns, import_, export, reindex, sweep, cleanup):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    cli()


if __name__ == "__main__":
    main()
