"""What `open_storage` raises, whatever is below it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ipld.errors import InvalidCid, InvalidPath, IpldError, StoreFull, StoreUnavailable
from storage.embedded_postgres import DatabaseStartError
from storage.index import UploadGone
from storage.s3_errors import StoreRefused


class StorageError(Exception):
    """Base of them all; `__cause__` is the failure itself.

    `retry_after` is in how many seconds trying again is worth it, None where it is no use.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UploadError(StorageError):
    """Nothing was stored."""


class RetrieveError(StorageError):
    """The content is not here, or not whole, or the stores cannot be asked."""


class PinningError(StorageError):
    """Nothing about what is kept has changed."""


class ValidationError(StorageError, ValueError):
    """An argument is not what it should be: no CID, no path, no span."""


@contextmanager
def failing_as(kind: type[StorageError]) -> Generator[None, None, None]:
    """Turn every failure that the storage knows into this one, or into ValidationError."""
    try:
        yield
    except (InvalidCid, InvalidPath) as error:
        raise ValidationError(str(error)) from error
    except (StoreRefused, StoreFull) as error:
        raise kind(str(error)) from error
    except StoreUnavailable as error:
        raise kind(str(error), error.retry_after) from error
    except UploadGone as error:
        raise kind(str(error), 1) from error
    except (IpldError, DatabaseStartError) as error:
        raise kind(str(error)) from error
