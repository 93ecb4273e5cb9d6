"""Every route of `/api/v1` on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from gateway.api.document import get_docs, get_openapi
from gateway.api.files import delete_file, get_file, list_files
from gateway.api.uploads import complete_upload, get_file_url, presign_upload

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BASE = "/api/v1"

# Method, path below the base, handler. A GET answers HEAD as well.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/files", list_files),
    ("GET", "/files/{id}", get_file),
    ("DELETE", "/files/{id}", delete_file),
    ("GET", "/files/{id}/url", get_file_url),
    ("POST", "/uploads/presign", presign_upload),
    ("POST", "/uploads/complete", complete_upload),
    ("GET", "/openapi.json", get_openapi),
    ("GET", "/docs", get_docs),
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
