"""API keys: their form, their hash, and what every store of keys promises."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import string
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID, uuid4

from auth.errors import AmbiguousKey, KeyNotFound

PREFIX = "cidgate_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS = 32  # 190 bits
_CHECKSUM_CHARACTERS = 6  # holds any CRC-32
_SHOWN_CHARACTERS = 4
_NAME_CHARACTERS = 200
_OURS = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_RANDOM_CHARACTERS}}})([0-9A-Za-z]{{{_CHECKSUM_CHARACTERS}}})")
# What an operator may choose as the first key: long enough not to be guessed.
_CHOSEN = re.compile(r"[\x21-\x7e]{20,256}")


class Scope(StrEnum):
    READ = "read"
    UPLOAD = "upload"
    DELETE = "delete"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """All that is known of a key but its secret; `prefix` is how the secret begins.

    `uploads_expire_in` is for how many seconds what is uploaded with it is kept, unless the upload says
    otherwise; None for ever. The key's own end is `expires_at`.
    """

    id: UUID
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    uploads_expire_in: float | None = None

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class NewKey:
    """The only time that the secret is seen."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to be made; `secret` is None for a random one, which is what everybody should want."""

    name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    secret: str | None = field(default=None, repr=False)
    uploads_expire_in: float | None = None

    def make(self) -> NewKey:
        """Raises ValueError where no store could take the key."""
        secret = make_secret() if self.secret is None else self.secret
        if not self.scopes or not is_well_formed(secret):
            raise ValueError("a key needs a scope, and a secret of 20 to 256 visible ASCII characters")
        if not self.name or not self.name.isprintable() or len(self.name) > _NAME_CHARACTERS:
            raise ValueError("the name of a key has 1 to 200 printable characters")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("the expiry of a key needs a time zone")
        if self.uploads_expire_in is not None and not 0 < self.uploads_expire_in < math.inf:
            raise ValueError("uploads expire in a positive number of seconds, or never")
        now = datetime.now(UTC)
        key = ApiKey(uuid4(), self.name, shown(secret), self.scopes, now, self.expires_at)
        return NewKey(replace(key, uploads_expire_in=self.uploads_expire_in), secret)


class Authenticator(Protocol):
    async def authenticate(self, secret: str) -> ApiKey | None:
        """The key with that secret, or None where there is none that is good now.

        Raises KeysUnavailable.
        """
        ...


class ApiKeys(Authenticator, Protocol):
    """Every method raises KeysUnavailable when the store cannot be asked."""

    async def create(self, request: KeyRequest) -> NewKey:
        """Raises KeyExists when the secret is taken."""
        ...

    async def list(self) -> Collection[ApiKey]:
        """Every key, revoked ones too, the oldest first."""
        ...

    async def revoke(self, wanted: str) -> ApiKey:
        """By id, or by a prefix or name that only one unrevoked key has; durable when it returns.

        Raises KeyNotFound and AmbiguousKey.
        """
        ...

    async def is_good(self, key: UUID) -> bool:
        """Asked of the store itself: for the end of a long upload, whose key may be revoked by now."""
        ...

    async def touch(self, used: Mapping[UUID, datetime]) -> None:
        """Note when keys were used last; never goes back in time."""
        ...


def make_secret() -> str:
    """`cidgate_`, for people and secret scanners, then the random part and its checksum."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    return f"{PREFIX}{random}{_checksum(random)}"


def is_well_formed(secret: str) -> bool:
    """Whether it can be a key at all: what is mistyped never reaches the database."""
    if not secret.startswith(PREFIX):
        return _CHOSEN.fullmatch(secret) is not None
    match = _OURS.fullmatch(secret)
    return match is not None and hmac.compare_digest(_checksum(match[1]), match[2])


def hash_secret(secret: str) -> bytes:
    """Plain SHA-256: the secret is random and long, so nothing slower would protect it better."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def same_hash(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def shown(secret: str) -> str:
    """How a key is told from others in a list. Too little to help in guessing it."""
    length = len(PREFIX) + _SHOWN_CHARACTERS if secret.startswith(PREFIX) else _SHOWN_CHARACTERS
    return secret[:length]


def choose(keys: Iterable[ApiKey], wanted: str) -> ApiKey:
    """The one unrevoked key that `wanted` means. An id wins over a name that looks like it."""
    candidates = [key for key in keys if key.revoked_at is None]
    by_id = [key for key in candidates if str(key.id) == wanted.lower()]
    found = by_id or [key for key in candidates if wanted in (key.prefix, key.name)]
    if not found:
        raise KeyNotFound(f"no key that is still good has the id, prefix or name {wanted!r}")
    if len(found) > 1:
        raise AmbiguousKey(f"{len(found)} keys are called {wanted!r}; give the id")
    return found[0]


def _checksum(random: str) -> str:
    value, text = zlib.crc32(random.encode()), ""
    for _ in range(_CHECKSUM_CHARACTERS):
        value, digit = divmod(value, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return text
