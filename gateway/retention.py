"""How long an upload is kept: what the request says, else what its key says, else for ever."""

from __future__ import annotations

from collections.abc import Mapping

from auth.keys import ApiKey
from gateway.durations import parse_duration
from gateway.refusals import BadRequest

NEVER = "never"
MIN_SECONDS = 1.0
MAX_SECONDS = 100 * 365 * 86400.0


def lifetime_of(parameters: Mapping[str, str], key: ApiKey, temporary_seconds: float) -> float | None:
    """In seconds, None for ever; `temporary_seconds` is what `?temporary=true` stands for.

    Raises BadRequest.
    """
    asked, temporary = parameters.get("expires-in"), parameters.get("temporary", "false")
    if temporary not in ("true", "false"):
        raise BadRequest("temporary is true or false")
    if asked is None:
        return temporary_seconds if temporary == "true" else key.uploads_expire_in
    if temporary == "true":
        raise BadRequest("send either expires-in or temporary")
    if asked == NEVER:
        return None
    seconds = parse_duration("expires-in", asked)
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise BadRequest(f"expires-in is from 1 second to {MAX_SECONDS / 86400:.0f} days, or `{NEVER}`")
    return seconds
