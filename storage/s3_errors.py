"""What the answers of an S3 server mean to the rest of the program."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ipld.errors import StoreFull, StoreUnavailable
from storage.objects import ObjectNotFound
from storage.resilient import Transient

# An error is a small XML document; a proxy may send a page of any length instead.
ERROR_BYTES = 16 * 1024

# Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and of others alike.
_MISSING = {"NoSuchKey", "NoSuchVersion", "InvalidRange", "PreconditionFailed"}
_PASSING = {
    "InternalError",
    "RequestTimeout",
    "OperationAborted",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
}
_FULL = {"QuotaExceeded", "StorageQuotaExceeded", "InsufficientStorage", "XMinioStorageFull"}
_LOST_UPLOAD = {"NoSuchUpload"}
# Whatever the number of digits that somebody sends.
_LONGEST_PAUSE = 86_400.0
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,80})\s*</Code>")
_MESSAGE = re.compile(rb"<Message>\s*([^<]{1,300}?)\s*</Message>")


class StoreRefused(StoreUnavailable):
    """The store answers, and refuses: a wrong key, no right, no such bucket. Trying again is no use."""


class UploadLost(StoreRefused):
    """The store knows nothing of a multipart upload: it was finished, or removed."""


def error_of_body(key: str, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """The failure that an answer stands for; `body` may be XML, HTML or nothing."""
    code, message = _CODE.search(body), _MESSAGE.search(body)
    return error_of(
        key,
        status,
        code[1].decode() if code else "",
        message[1].decode("utf-8", "replace") if message else "",
        pause=pause_of(headers.get("Retry-After")),
    )


def error_of(key: str, status: int, code: str, message: str = "", *, pause: float = 0.0) -> Exception:
    """ObjectNotFound, StoreRefused, StoreFull, or Transient; never a text that is not the store's."""
    said = " ".join(part for part in (code if not code.isdigit() else "", message) if part)
    text = f"the object store answered {status}" + (f" ({said})" if said else "")
    if code in _LOST_UPLOAD:
        return UploadLost(text)
    if code in _FULL or status == 507:
        return StoreFull(text)
    if code in _PASSING or status == 429 or (status >= 500 and status != 501):
        return Transient(text, pause)
    if code in _MISSING or (status in (404, 412, 416) and code != "NoSuchBucket"):
        return ObjectNotFound(key)
    if 200 <= status < 400 and not code:
        # A page of a proxy, or of a captive portal, where an object should be.
        return Transient(f"{text}, which is no answer of an object store", pause)
    return StoreRefused(text)


def pause_of(text: str | None) -> float:
    """Retry-After in seconds (RFC 9110 section 10.2.3), a day at most; its form with a date counts as
    nothing."""
    return min(float(text), _LONGEST_PAUSE) if text is not None and text.isascii() and text.isdigit() else 0.0
