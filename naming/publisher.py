"""Publishing under names of ours: records signed with keys kept here, announced elsewhere, and renewed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from ipld.errors import (
    InvalidName,
    InvalidRecord,
    IpldError,
    NameUnavailable,
    RecordNotFound,
    StoreUnavailable,
)
from ipld.ipns_name import IpnsName
from ipld.ipns_record import MAX_SEQUENCE, IpnsRecord, make_record, path_of
from ipld.libp2p_keys import PrivateKey
from ipld.rfc3339 import SECOND
from naming.ipns import IpnsNames
from naming.key_ring import KeyRing
from naming.named_keys import KeyTaken, KeyUnknown, NamedKey, NotYourKey
from naming.records import Make, OlderRecord

logger = logging.getLogger(__name__)

# It stands in a record twice, which has 10 KiB for all.
MAX_VALUE_BYTES = 4096
MIN_LIFETIME, MAX_LIFETIME = 3600.0, 100 * 365 * 86400.0
# Kubo's DHT forgets a record after 48 hours, so routers are told again in good time, in seconds.
ANNOUNCE_SECONDS = 12 * 3600.0
# Who publishes waits for what routers say, tries and all, so long at most, in seconds.
ANNOUNCE_TIMEOUT = 15.0
# Another process that sees the same record near its end leaves it to who took it up, in seconds.
CLAIM_SECONDS = 300.0
# The longest look, before a name is first published here, whether others have a record of it, in seconds.
CATCH_UP_SECONDS = 5.0
# Times that signing is begun anew when somebody put a newer record meanwhile.
_TRIES = 3


class InvalidPublication(IpldError, ValueError):
    """The value, lifetime or TTL is none that a record can have."""


class Router(Protocol):
    """Who is told of new records."""

    @property
    def url(self) -> str: ...

    async def announce(self, name: IpnsName, record: IpnsRecord) -> None:
        """Raises StoreUnavailable, with the reason."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a record lasts and may be cached, in seconds."""

    lifetime: float = 48 * 3600.0
    ttl: float = 300.0

    def check(self) -> None:
        """Raise InvalidPublication for what no record should say."""
        if not MIN_LIFETIME <= self.lifetime <= MAX_LIFETIME:
            raise InvalidPublication("the lifetime of a record is an hour to 100 years")
        if not 0 <= self.ttl <= self.lifetime:
            raise InvalidPublication("the TTL of a record is 0 to its lifetime")


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who may publish under which key, and how a record comes about."""

    ring: KeyRing
    names: IpnsNames
    routers: Sequence[Router] = ()
    terms: Terms = field(default_factory=Terms)

    async def key_of(self, text: str, owner: UUID, *, admin: bool) -> tuple[NamedKey, bool]:
        """The key called so, and whether it was made just now, for `owner`.

        Raises NotYourKey, unless it is the owner's or `admin` is set; InvalidLabel, PublishingOff and
        StoreUnavailable.
        """
        try:
            return self._allowed(await self.ring.find(text), owner, admin=admin), False
        except KeyUnknown:
            pass
        try:
            return await self.ring.create(text, owner), True
        except KeyTaken:  # By another request, since it was looked for.
            return self._allowed(await self.ring.find(text), owner, admin=admin), False

    def _allowed(self, key: NamedKey, owner: UUID, *, admin: bool) -> NamedKey:
        if key.owner != owner and not admin:
            raise NotYourKey(
                f"the IPNS key {key.label} belongs to another API key; an operator can give it to yours "
                f"with `cidgate ipns key give`"
            )
        return key

    def check(self, value: str, terms: Terms) -> None:
        """Raise InvalidPublication, before any key is made for it."""
        terms.check()
        _value(value)

    async def publish(self, key: NamedKey, value: str, terms: Terms | None = None) -> IpnsRecord:
        """Sign a record that points to `value`, a content path, and keep it: durable when it returns, and
        newer than every record of the name that is known.

        Raises InvalidPublication, PublishingOff, SecretChanged and StoreUnavailable.
        """
        terms = terms or self.terms
        terms.check()
        pointed = _value(value)
        if _is(key.name, pointed):
            raise InvalidPublication("a name cannot point to itself")
        private = await self.ring.open(key)
        await self._catch_up(key.name)

        def make(before: IpnsRecord | None) -> IpnsRecord:
            sequence = 0 if before is None else before.sequence + 1
            if sequence > MAX_SEQUENCE:
                raise InvalidPublication(f"the record of {key.name} has the highest sequence there is")
            return _signed(private, pointed, sequence, terms.lifetime, int(terms.ttl * SECOND))

        record = await self._advance(key.name, make)
        await self.ring.keys.published(key.label, terms.lifetime)
        return record

    async def announce(self, name: IpnsName, record: IpnsRecord) -> Mapping[str, str | None]:
        """Tell every router; by its URL why it did not take the record, or None."""

        async def tell(router: Router) -> str | None:
            try:
                async with asyncio.timeout(ANNOUNCE_TIMEOUT):
                    await router.announce(name, record)
            except (StoreUnavailable, TimeoutError) as error:
                reason = str(error) or f"{router.url} did not take it within {ANNOUNCE_TIMEOUT:g} s"
                logger.warning("the record of %s was not announced: %s", name, reason)
                return reason
            return None

        results = await asyncio.gather(*map(tell, self.routers))
        return dict(zip((router.url for router in self.routers), results, strict=True))

    async def renew(self) -> int:
        """Sign anew what is past the half of its life, and announce what routers may have forgotten; how
        many records those were. A key that cannot be used is passed over, with a line in the log.

        Raises StoreUnavailable.
        """
        keys = await self.ring.keys.list()
        if keys and not self.ring.is_open:
            logger.warning("%d IPNS keys are here and IPNS_KEY_SECRET is not set: names expire", len(keys))
            return 0
        renewed = 0
        for key in keys:
            try:
                renewed += await self._renewed(key)
            except IpldError as error:
                # What is not known of one name says nothing about the store of all.
                if isinstance(error, StoreUnavailable) and not isinstance(error, NameUnavailable):
                    raise
                logger.error("the record of %s was not renewed: %s", key.name, error)  # noqa: TRY400
            except Exception:
                # Names of everybody else depend on this round, too.
                logger.exception("the record of %s was not renewed", key.name)
        return renewed

    async def _renewed(self, key: NamedKey) -> bool:
        stored = await self.names.store.get(key.name)
        if stored is None or key.lifetime is None:
            return False
        ends = _is_past_half(stored.record, key.lifetime)
        # Announcing is what claims a key, so that of several gateways one renews it.
        if not await self.ring.keys.claim(key.label, CLAIM_SECONDS if ends else ANNOUNCE_SECONDS):
            return False
        record = await self._resigned(key, key.lifetime) if ends else stored.record
        await self.announce(key.name, record)
        return True

    async def _resigned(self, key: NamedKey, lifetime: float) -> IpnsRecord:
        private = await self.ring.open(key)

        def make(before: IpnsRecord | None) -> IpnsRecord:
            if before is None:
                raise RecordNotFound(f"the record of {key.name} is gone")
            if not _is_past_half(before, lifetime):
                return before
            # The later end makes it the newer one; the sequence stands for the value, which stays.
            return _signed(private, before.value, before.sequence, lifetime, before.ttl or 0)

        return await self._advance(key.name, make)

    async def _catch_up(self, name: IpnsName) -> None:
        """A key may have been used elsewhere before it came here, or our records may be lost."""
        if await self.names.store.get(name) is not None:
            return
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self.names.current(name)
        except (RecordNotFound, InvalidRecord):
            pass
        except (StoreUnavailable, TimeoutError) as error:
            logger.warning("whether others have a record of %s is not known: %s", name, error)

    async def _advance(self, name: IpnsName, make: Make) -> IpnsRecord:
        tries = AsyncRetrying(
            stop=stop_after_attempt(_TRIES), retry=retry_if_exception_type(OlderRecord), reraise=True
        )
        record: IpnsRecord = await tries(self.names.store.advance, name, make)
        self.names.changed(name)
        return record


def _signed(private: PrivateKey, value: bytes, sequence: int, lifetime: float, ttl: int) -> IpnsRecord:
    """`lifetime` in seconds; `ttl` in nanoseconds, of which a float loses some."""
    eol = time.time_ns() + int(lifetime * SECOND)
    return make_record(private, value, sequence=sequence, eol=eol, ttl=ttl)


def _is_past_half(record: IpnsRecord, lifetime: float) -> bool:
    return record.expires - time.time() < lifetime / 2


def _value(text: str) -> bytes:
    """What a record says that points to the path or CID in `text`."""
    try:
        value = (text if text.startswith("/") else f"/ipfs/{text}").encode()
    except UnicodeEncodeError as error:
        # Signed as another one it would lead somewhere else.
        raise InvalidPublication(f"{text[:80]!r} is no Unicode text, which a record needs") from error
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidPublication(f"the path has {len(value)} bytes, and {MAX_VALUE_BYTES} are allowed")
    try:
        path_of(value)
    except InvalidRecord as error:
        raise InvalidPublication(f"{text[:80]!r} is neither a CID nor a path: {error.__cause__}") from error
    return value


def _is(name: IpnsName, value: bytes) -> bool:
    path = path_of(value)
    try:
        return path.mutable and IpnsName.parse(path.root) == name
    except InvalidName:
        return False
