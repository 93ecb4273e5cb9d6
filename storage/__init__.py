"""Where bytes live: `from storage import open_storage` for programs in Python."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.errors import PinningError, RetrieveError, StorageError, UploadError, ValidationError
    from storage.filebase import Import
    from storage.library import State, Storage, UploadResult, open_storage
    from storage.places import S3Bucket
    from storage.s3_account import S3Account

__all__ = [
    "Import",
    "PinningError",
    "RetrieveError",
    "S3Account",
    "S3Bucket",
    "State",
    "Storage",
    "StorageError",
    "UploadError",
    "UploadResult",
    "ValidationError",
    "open_storage",
]

_HOMES = {
    "Import": "filebase",
    "S3Account": "s3_account",
    "S3Bucket": "places",
    "State": "library",
    "Storage": "library",
    "UploadResult": "library",
    "open_storage": "library",
}


def __getattr__(name: str) -> object:
    # Found when it is asked for: the keeper of the embedded database has the standard library alone.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    return found
