"""Other gateways as a source of IPNS records (trustless gateway spec, "IPNS Record Responses")."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ipld.ipns_name import IpnsName
from ipld.ipns_record import MEDIA_TYPE, IpnsRecord
from naming.remote import Remote
from naming.via import Via, via_header


@dataclass(frozen=True, slots=True)
class UpstreamRecords:
    """A RecordSource: one gateway, trustless or not."""

    remote: Remote

    @property
    def url(self) -> str:
        return self.remote.url

    async def find(self, name: IpnsName, via: Via = ()) -> IpnsRecord | None:
        headers = {"Accept": MEDIA_TYPE, **via_header(via)}
        answer = await self.remote.ask("GET", f"/ipns/{name}?format=ipns-record", headers)
        record = answer.record()
        if record is not None:
            record.verify(name, time.time())
        return record
