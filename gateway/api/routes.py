"""Every route of `/api/v1` on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from gateway.api.files import delete_file, get_file, list_files

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BASE = "/api/v1"

# Method, path below the base, handler. A GET answers HEAD as well.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/files", list_files),
    ("GET", "/files/{id}", get_file),
    ("DELETE", "/files/{id}", delete_file),
)


class AddRoute(Protocol):
    """`add_route` of a router."""

    def __call__(self, method: str, path: str, handler: Handler) -> object: ...


def add_api(route: AddRoute, preflight: Callable[[str], Handler]) -> None:
    """All of them, and what answers OPTIONS for each path."""
    methods: dict[str, list[str]] = {}
    for method, path, handler in ROUTES:
        for each in ("GET", "HEAD") if method == "GET" else (method,):
            route(each, BASE + path, handler)
            methods.setdefault(path, []).append(each)
    for path, allowed in methods.items():
        route("OPTIONS", BASE + path, preflight(", ".join([*allowed, "OPTIONS"])))
