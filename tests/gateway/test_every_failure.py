"""Every failure that the packages below can raise has a status of its own."""

from __future__ import annotations

import pytest

from auth import errors as auth
from gateway import refusals
from gateway.errors import status_of
from ipld import errors as ipld
from storage import index

# They never leave the storage, or are the base of others.
INSIDE = {"IpldError", "Refusal", "AuthError", "KeyNotFound", "AmbiguousKey", "KeyExists"}


def failures() -> list[type[BaseException]]:
    modules = (auth, refusals, ipld, index)
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted(
        (kind for kind in found if issubclass(kind, Exception) and kind.__name__ not in INSIDE),
        key=lambda kind: kind.__name__,
    )


@pytest.mark.parametrize("kind", failures(), ids=lambda kind: kind.__name__)
def test_it_is_in_the_table(kind: type[BaseException]) -> None:
    assert status_of(kind.__new__(kind)) != 500
