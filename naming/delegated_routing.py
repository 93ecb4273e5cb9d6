"""Delegated routing servers: `GET` and `PUT /routing/v1/ipns/<name>` (HTTP routing v1 spec, "IPNS API")."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ipld.ipns_name import IpnsName
from ipld.ipns_record import MEDIA_TYPE, IpnsRecord
from naming.records import RecordsUnavailable
from naming.remote import Remote
from naming.via import Via, via_header


@dataclass(frozen=True, slots=True)
class DelegatedRouter:
    """A RecordSource that takes records, too."""

    remote: Remote

    @property
    def url(self) -> str:
        return self.remote.url

    async def find(self, name: IpnsName, via: Via = ()) -> IpnsRecord | None:
        headers = {"Accept": MEDIA_TYPE, **via_header(via)}
        answer = await self.remote.ask("GET", f"/routing/v1/ipns/{name}", headers)
        record = answer.record()
        if record is not None:
            record.verify(name, time.time())
        return record

    async def announce(self, name: IpnsName, record: IpnsRecord) -> None:
        """Hand the record over; RecordsUnavailable says why the server did not take it."""
        headers = {"Content-Type": MEDIA_TYPE}
        answer = await self.remote.ask("PUT", f"/routing/v1/ipns/{name}", headers, record.raw)
        if not 200 <= answer.status < 300:
            raise RecordsUnavailable(f"{self.url} answered {answer.status}: {answer.text}")
