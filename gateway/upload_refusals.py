"""What the upload log hears of writes that did not succeed; those that did are in it already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from auth.middleware import identity_of
from gateway.context import GATEWAY
from gateway.errors import details_of, reason_of, status_of
from gateway.refusals import Draining, TooManyRequests
from storage.upload_log import Action, LogEntry, Outcome

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def logged(handler: Answer) -> Answer:
    """A handler whose failures are in the log."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except BaseException as error:
            log_refusal(request, error)
            raise

    return answer


def log_refusal(request: web.Request, error: BaseException) -> None:
    """Note it, with the path as the name. Nobody was tried who had no key, or came at a bad time."""
    key = identity_of(request).key
    if key is None or isinstance(error, TooManyRequests | Draining):
        return
    gateway = request.app[GATEWAY]
    is_refused = not isinstance(error, asyncio.CancelledError) and status_of(error) < 500
    reason = f"{reason_of(error)}: {details_of(error)}" if is_refused else type(error).__name__
    is_deletion = request.method == hdrs.METH_DELETE
    gateway.log.add(
        LogEntry(
            Action.DELETE if is_deletion else Action.UPLOAD,
            Outcome.REFUSED if is_refused else Outcome.FAILED,
            key.id,
            gateway.proxies.client(request),
            name=request.raw_path,
            size=None if is_deletion else request.content_length,
            reason=reason,
        )
    )
