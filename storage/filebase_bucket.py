"""What kind of bucket it is: plain S3, or one that publishes on IPFS and gives CIDs back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

from ipld import car
from ipld.cid import RAW, Cid
from ipld.errors import InvalidCid
from storage.objects import ObjectNotFound
from storage.s3 import S3Objects

logger = logging.getLogger(__name__)

# A CAR of one small block, imported once and left there: by it a bucket shows what it does with CARs.
PROBE_KEY = "cidgate/probe.car"
_PROBE_DATA = b"cidgate asks what this bucket does with a CAR\n"
_PROBE_ROOT = Cid.of(_PROBE_DATA, RAW)
_PROBE = car.header([_PROBE_ROOT]) + car.frame(_PROBE_ROOT, len(_PROBE_DATA)) + _PROBE_DATA
# The metadata that makes Filebase import a CAR rather than publish it as a file.
IMPORT_CAR: Mapping[str, str] = {"import": "car"}
# The answer to a PUT, and the metadata of an object, by which Filebase tells the CID.
CID_HEADER = "x-amz-meta-cid"
CID_METADATA = "cid"
# So long is a bucket that was never asked before given to say a CID, where little depends on it.
FIRST_SECONDS = 3.0
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class BucketKind:
    """`publishes`: it gives a CID for what is put into it. `returns_cars`: an imported CAR is read back
    as the CAR that it was."""

    publishes: bool
    returns_cars: bool = True

    def __str__(self) -> str:
        if not self.publishes:
            return "plain S3 (gives no CIDs)"
        return "IPFS" if self.returns_cars else "IPFS (does not give imported CARs back)"


class Bucket:
    """Knows its kind once it could be asked; asks again as long as it could not, and as long as its first
    CID may still come. `patient`: that is waited for."""

    def __init__(self, objects: S3Objects, *, cid_timeout: float, patient: bool = False) -> None:
        self._objects = objects
        self._cid_timeout = cid_timeout
        self._patient = patient
        self._kind: BucketKind | None = None
        # Since when it has been asked for a CID that may still come.
        self._doubtful_since: float | None = None
        self._lock = asyncio.Lock()

    @property
    def known_kind(self) -> BucketKind | None:
        """None as long as the bucket could not be asked, or has not said it for sure."""
        return self._kind

    @property
    def state(self) -> str:
        """What an operator is told of its kind."""
        if self._kind is not None:
            return str(self._kind)
        return "not known yet" if self._doubtful_since is None else "plain S3 so far (gave no CID yet)"

    async def kind(self) -> BucketKind:
        """Raises StoreUnavailable where the bucket cannot be asked."""
        if self._kind is None:
            async with self._lock:
                if self._kind is None:
                    return await self._ask()
        return self._kind

    async def published(self, key: str, answered: Mapping[str, str], deadline: float) -> Cid | None:
        """The CID that the bucket gives to an object, None where it says none in that many seconds.

        `answered` are the headers of the PUT; where they have none, HEAD is asked until it tells.
        """
        text = answered.get(CID_HEADER)
        until, wait = time.monotonic() + deadline, _FIRST_WAIT
        while text is None:
            # It may not be found, either, while it is still being imported.
            with suppress(ObjectNotFound):
                text = (await self._objects.describe(key)).metadata.get(CID_METADATA)
            if text is None and time.monotonic() + wait > until:
                return None
            if text is None:
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
        try:
            return Cid.parse(text)
        except InvalidCid:
            logger.warning("the bucket gave %r for a CID to %s", text[:100], key)
            return None

    async def _ask(self) -> BucketKind:
        await self._objects.check()
        answered: Mapping[str, str] = {}
        had_time = False
        try:
            head = await self._objects.describe(PROBE_KEY)
            # It had the time that any import is given: what it says now is its answer.
            had_time = time.time() - head.info.modified > self._cid_timeout
        except ObjectNotFound:
            async with self._objects.create(PROBE_KEY, metadata=IMPORT_CAR) as writer:
                await writer.write(_PROBE)
                await writer.commit(b"")
                answered = writer.answered
        deadline = 0.0 if had_time else self._deadline()
        cid = await self.published(PROBE_KEY, answered, deadline)
        if cid is None and not had_time and deadline < self._cid_timeout and self._may_still_come(deadline):
            return BucketKind(publishes=False)
        self._kind = BucketKind(publishes=False) if cid is None else await self._kind_by(cid)
        logger.info("the bucket is %s", self._kind)
        return self._kind

    def _deadline(self) -> float:
        """How many seconds the CID is waited for now."""
        if self._patient:
            return self._cid_timeout
        return min(FIRST_SECONDS, self._cid_timeout) if self._doubtful_since is None else 0.0

    def _may_still_come(self, waited: float) -> bool:
        now = time.monotonic()
        if self._doubtful_since is None:
            self._doubtful_since = now - waited
            logger.info("the bucket gave no CID within %g s, and is plain S3 until it gives one", waited)
        return now - self._doubtful_since < self._cid_timeout

    async def _kind_by(self, cid: Cid) -> BucketKind:
        is_import = cid.to_v1() == _PROBE_ROOT
        if not is_import:
            logger.warning(
                "the bucket gave %s to a CAR with the root %s: it imports no CARs", cid, _PROBE_ROOT
            )
        return BucketKind(publishes=True, returns_cars=is_import and await self._is_returned())

    async def _is_returned(self) -> bool:
        """Whether length and bytes of what is read are those that were written."""
        async with self._objects.open(PROBE_KEY) as source:
            if source.size != len(_PROBE):
                return False
            async with aclosing(source.read(0, source.size)) as pieces:
                return b"".join([bytes(piece) async for piece in pieces]) == _PROBE
