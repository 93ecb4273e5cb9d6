"""What can go wrong between a request and its key; the gateway's error table makes responses of it."""

from __future__ import annotations

REALM = "cidgate"


class AuthError(Exception):
    """`reason` and `details` are what the client is told, `challenge` is its `WWW-Authenticate`."""

    def __init__(self, reason: str, details: str, challenge: str = f'Bearer realm="{REALM}"') -> None:
        super().__init__(details)
        self.reason = reason
        self.details = details
        self.challenge = challenge


class Unauthenticated(AuthError):
    """401: there is no key, or not one that counts."""


class Forbidden(AuthError):
    """403: the key is good and may not do this."""


class KeysUnavailable(Exception):
    """503: the store of keys cannot be asked, and without it nobody is let in.

    `retry_after` is in whole seconds.
    """

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KeyNotFound(LookupError):
    """No key that is still good has that id, prefix or name."""


class AmbiguousKey(LookupError):
    """More than one key has that prefix or name; only the id tells them apart."""


class KeyExists(ValueError):
    """There is a key with this very secret already, revoked perhaps."""
