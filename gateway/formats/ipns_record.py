"""`?format=ipns-record`: the signed record of an IPNS name, for clients that check it themselves."""

from __future__ import annotations

from gateway.formats.content_headers import content_location
from gateway.headers import content_disposition
from gateway.refusals import BadRequest
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.errors import InvalidName, NameNotFound, RecordNotFound
from ipld.ipns_name import IpnsName
from ipld.ipns_record import MEDIA_TYPE
from naming.ipns import IpnsNames

SUFFIX = ".ipns-record"


async def represent_ipns_record(names: IpnsNames, wanted: ContentRequest) -> Representation:
    """Path gateway spec, "Response Format"; trustless gateway spec, "IPNS Record Responses".

    Raises BadRequest for all that has no record of its own, and what `IpnsNames.current` raises.
    """
    name = _name(wanted)
    try:
        current = await names.current(name)
    except RecordNotFound as error:
        # The record itself is what was asked for, and it is not here: no fault of anybody's.
        raise NameNotFound(str(error)) from error
    headers = {
        "X-Ipfs-Path": wanted.path.encoded(),
        "Cache-Control": f"public, max-age={current.ttl}",
        "Content-Disposition": content_disposition(wanted.filename or f"{name}{SUFFIX}", attachment=True),
        "X-Content-Type-Options": "nosniff",
    }
    if wanted.wanted.by_accept:
        headers["Content-Location"] = content_location(wanted)
    return Representation(
        content_type=MEDIA_TYPE, etag=current.record.etag, headers=headers, body=current.record.raw
    )


def _name(wanted: ContentRequest) -> IpnsName:
    if not wanted.path.mutable:
        raise BadRequest(f"{wanted.path} is immutable and has no IPNS record")
    if wanted.path.segments:
        raise BadRequest("an IPNS record is that of a whole name: ask without the path after it")
    try:
        return IpnsName.parse(wanted.path.root)
    except InvalidName as error:
        raise BadRequest(
            f"{wanted.path.root} has no IPNS record: only keys have one, not DNSLink names"
        ) from error
