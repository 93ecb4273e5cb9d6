"""What an operator can mend is said in one line, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from auth.errors import AmbiguousKey, KeyExists, KeyNotFound, KeysUnavailable
from gateway.listen import PortTaken
from ipld.errors import IpldError
from migrations import SchemaTooNew
from storage.embedded_postgres import DatabaseStartError

_PLAIN = (
    AmbiguousKey,
    DatabaseStartError,
    IpldError,
    KeyExists,
    KeyNotFound,
    KeysUnavailable,
    OSError,
    PortTaken,
    SchemaTooNew,
)


@contextmanager
def said_plainly() -> Iterator[None]:
    """Turn such an error into a message on standard error and exit status 1."""
    try:
        yield
    except _PLAIN as error:
        raise click.ClickException(str(error)) from error
