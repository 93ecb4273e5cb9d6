"""What operators and their tools ask: alive, ready, which version, which figures."""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web

from gateway.context import GATEWAY, Gateway, Probe

# Longer than any healthy dependency takes, shorter than an orchestrator waits.
PROBE_SECONDS = 3.0
HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/version"})


def program_version() -> str:
    """The version of the installed package."""
    try:
        return version("cidgate")
    except PackageNotFoundError:
        return "unknown"


async def get_healthz(_: web.Request) -> web.Response:
    """The process runs and its loop turns; says nothing of dependencies."""
    return web.json_response({"status": "ok"}, headers=_FRESH)


async def get_readyz(request: web.Request) -> web.Response:
    """503 while a dependency that is needed is down, or the gateway is stopping."""
    gateway = request.app[GATEWAY]
    names = list(gateway.probes)
    troubles = await asyncio.gather(*(_ask(gateway.probes[name]) for name in names))
    states = {name: trouble or "ok" for name, trouble in zip(names, troubles, strict=True)}
    ready = not gateway.traffic.draining and _all_needed_work(gateway, states)
    status = "stopping" if gateway.traffic.draining else "ok" if ready else "unavailable"
    headers = _FRESH if ready else {**_FRESH, "Retry-After": "5"}
    about = gateway.storage()
    body = {"status": status, "dependencies": states, **({"storage": dict(about)} if about else {})}
    return web.json_response(body, status=200 if ready else 503, headers=headers)


async def get_version(_: web.Request) -> web.Response:
    """Which program answers here."""
    return web.json_response({"name": "cidgate", "version": program_version()}, headers=_FRESH)


async def get_metrics(request: web.Request) -> web.Response:
    """Prometheus' text format."""
    request.app[GATEWAY].metrics.flush()
    body = await asyncio.to_thread(request.app[GATEWAY].metrics.render)
    return web.Response(
        body=body, headers={**_FRESH, "Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


_FRESH = {"Cache-Control": "no-store"}


def _all_needed_work(gateway: Gateway, states: dict[str, str]) -> bool:
    return all(state == "ok" or name in gateway.optional for name, state in states.items())


async def _ask(probe: Probe) -> str | None:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await probe()
    except TimeoutError:
        return f"no answer within {PROBE_SECONDS:.0f} s"
