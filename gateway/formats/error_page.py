"""The page a person sees when something went wrong: what, why, and what to do now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from gateway.formats.pages import template

_ADVICE: Mapping[int, str] = {
    400: "Check the address: a CID or a part of the path is not written the way it has to be.",
    401: "Send an API key in the Authorization header: “Bearer” and the key.",
    403: "This key may not do that. Ask the operator of this gateway for one that may.",
    404: "Check the spelling, or go up to the directory and look for it there.",
    406: "Ask for it in another format, or without one.",
    410: "The operator of this gateway does not serve this content.",
    416: "Ask for less: the file is shorter than the part that was asked for.",
    422: "The content itself is not well-formed. Its publisher can mend it; trying again will not.",
    429: "You, or many others at once, asked for a lot. Wait a moment and try again.",
    451: "This content is not available for legal reasons.",
    500: "This gateway, or the website itself, is broken. The operator can tell by the request id below.",
    502: "The copy of this content that was found is damaged, so it was not passed on. Try again later.",
    503: "The place where this content is kept does not answer right now. Try again in a moment.",
    504: "Nobody was found in time who has this content. Whoever has it may be offline; try again later.",
}


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """`target` is the request target as it came; `retry_after` in seconds, where trying again makes sense."""

    status: int
    details: str
    request_id: str
    target: str
    retry_after: int | None = None


def render_error(page: ErrorPage) -> str:
    """The page as HTML."""
    return _TEMPLATE.render(
        page=page,
        title=_phrase(page.status),
        advice=_ADVICE.get(page.status, "Check the address and try again."),
        # Only a path of this origin becomes a link: `//host` and absolute-form targets would lead elsewhere.
        retry=page.target
        if page.target.startswith("/") and not page.target.startswith(("//", "/\\"))
        else None,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


_TEMPLATE = template("error.html")
