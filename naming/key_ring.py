"""Private keys of ours: made, taken in and opened; on the disk they are sealed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from ipld.errors import IpldError
from ipld.ipns_name import IpnsName
from ipld.libp2p_keys import KeyType, PrivateKey
from naming.named_keys import KeyUnknown, NamedKey, NamedKeys, check_label
from naming.secret_box import SecretBox, WrongSecret

SETTING = "IPNS_KEY_SECRET"


class PublishingOff(IpldError):
    """No secret is set, so keys can be neither made nor used."""


class SecretChanged(IpldError):
    """The secret that is set is not the one that the key was sealed under."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys under a secret; `box` is None where none is set."""

    keys: NamedKeys
    box: SecretBox | None = None

    async def create(self, label: str, owner: UUID, type: KeyType = KeyType.ED25519) -> NamedKey:
        """A new random key. Raises InvalidLabel, KeyTaken, PublishingOff and StoreUnavailable."""
        return await self.add(label, owner, PrivateKey.generate(type))

    async def add(self, label: str, owner: UUID, private: PrivateKey) -> NamedKey:
        """Keep a key. Raises as `create`."""
        box = self._needed_box()
        name = IpnsName.of_key(private.public)
        sealed = await box.seal(private.encode(), name.multihash)
        key = NamedKey(check_label(label), name, owner, sealed)
        await self.keys.add(key)
        return key

    async def find(self, text: str) -> NamedKey:
        """The key that is called so, or has that IPNS name. Raises KeyUnknown and StoreUnavailable."""
        key = await self.keys.get(text)
        if key is None:
            try:
                key = await self.keys.by_name(IpnsName.parse(text))
            except ValueError:
                key = None
        if key is None:
            raise KeyUnknown(f"no IPNS key here is called {text[:80]!r}")
        return key

    async def open(self, key: NamedKey) -> PrivateKey:
        """The private half. Raises PublishingOff and SecretChanged."""
        box = self._needed_box()
        try:
            plain = await box.open(key.sealed, key.name.multihash)
            # A large RSA key takes a while to be checked.
            return await asyncio.to_thread(PrivateKey.decode, plain)
        except WrongSecret as error:
            raise SecretChanged(
                f"{SETTING} is not the secret that the key {key.label} was encrypted under; set the one that "
                "was set when the key was made"
            ) from error

    @property
    def is_open(self) -> bool:
        """Whether there is a secret."""
        return self.box is not None

    def _needed_box(self) -> SecretBox:
        if self.box is None:
            raise PublishingOff(
                f"IPNS publishing is off, because no secret is set to encrypt keys under: set {SETTING}, "
                "for example to what `openssl rand -base64 32` prints, and keep it"
            )
        return self.box
