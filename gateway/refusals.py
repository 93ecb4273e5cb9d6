"""Requests that were understood and are refused at the edge; `gateway.errors` gives each its status."""

from __future__ import annotations


class Refusal(Exception):
    """Base of them all; the text goes to the client as it is."""


class BadRequest(Refusal):
    """A parameter or header that cannot be read."""


class NotAcceptable(Refusal):
    """The content is there, but not in the format that was asked for."""


class Conflict(Refusal):
    """The body is sound and is not what the request says it is."""


class Gone(Refusal):
    """Withheld by the operator of this gateway."""


class LegallyUnavailable(Refusal):
    """Withheld for legal reasons (RFC 7725)."""


class PreconditionFailed(Refusal):
    """If-Match or If-Unmodified-Since names another version than the one there is."""


class LengthRequired(Refusal):
    """This upload needs a Content-Length."""


class PayloadTooLarge(Refusal):
    """The body is, or says it will be, over the limit."""


class UnsupportedMediaType(Refusal):
    """No importer for this Content-Type."""


class NotSupported(Refusal):
    """Asks for something that the specifications allow and this gateway does not do."""


class ExpectationFailed(Refusal):
    """`Expect` asks for something else than 100-continue."""


class HeadersTooLarge(Refusal):
    """The header fields are over the limit."""


class TooManyRequests(Refusal):
    """Over a limit of requests; worth trying again after `retry_after` whole seconds."""

    def __init__(self, message: str = "too many requests", retry_after: int = 60) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotKept(Refusal):
    """The key does not keep what it wants to let go."""


class FileNotFound(Refusal):
    """The key has no file with that id."""


class UploadNotFound(Refusal):
    """The key has begun no upload with that id."""


class HoursOutOfRange(Refusal):
    """An address is good for some hours, and for a week at most."""


class BodyCutShort(Refusal):
    """The client left, or sent less than it announced."""


class RequestTimeout(Refusal):
    """The body did not come in time."""


class Draining(Refusal):
    """The gateway is about to stop; another one, or this one restarted, will answer."""

    def __init__(self) -> None:
        super().__init__("the gateway is stopping; try again in a moment")
        self.retry_after = 5
