"""Encryption of private keys at rest: ChaCha20-Poly1305 under keys derived from one secret."""

from __future__ import annotations

import asyncio
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
# RFC 7914: about 50 ms and 16 MiB, once in the life of a process.
_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 1
# Separates this use of a secret from any other; what tells boxes apart is the salt of each.
_PURPOSE = b"cidgate: private keys of IPNS names, version 1"


class WrongSecret(Exception):
    """The box was sealed under another secret, for something else, or was changed."""


class SecretBox:
    """Seals under `secret`, a text of enough randomness. The text itself is kept until first use."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._master: bytes | None = None

    async def seal(self, plain: bytes, about: bytes) -> bytes:
        """A box that opens for the same `about` only."""
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        cipher = await self._cipher(salt)
        return _VERSION + salt + nonce + cipher.encrypt(nonce, plain, _VERSION + about)

    async def open(self, box: bytes, about: bytes) -> bytes:
        """What is in the box; else WrongSecret."""
        if box[:1] != _VERSION:
            raise WrongSecret("the box is of a version that is not known")
        salt, nonce = box[1 : 1 + _SALT_BYTES], box[1 + _SALT_BYTES : 1 + _SALT_BYTES + _NONCE_BYTES]
        cipher = await self._cipher(salt)
        try:
            return cipher.decrypt(nonce, box[1 + _SALT_BYTES + _NONCE_BYTES :], _VERSION + about)
        except (InvalidTag, ValueError) as error:
            raise WrongSecret("the box does not open with this secret") from error

    async def _cipher(self, salt: bytes) -> ChaCha20Poly1305:
        if self._master is None:
            self._master = await asyncio.to_thread(
                hashlib.scrypt, self._secret, salt=_PURPOSE, n=_COST, r=_BLOCK, p=_PARALLEL, dklen=_KEY_BYTES
            )
        derived = HKDF(SHA256(), _KEY_BYTES, salt=salt, info=_PURPOSE).derive(self._master)
        return ChaCha20Poly1305(derived)
