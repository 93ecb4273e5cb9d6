"""Hosts that give out only what a client can check by itself: blocks, CARs and IPNS records."""

from __future__ import annotations

from gateway.negotiation import Format
from gateway.refusals import BadRequest, NotAcceptable
from gateway.request import ContentRequest


def require_verifiable(wanted: ContentRequest) -> None:
    """Trustless gateway spec: BadRequest (400) without any format, NotAcceptable (406) for all that a
    client would have to believe."""
    if wanted.format is Format.CAR:
        return
    if wanted.format is Format.RAW:
        if wanted.path.segments:
            raise NotAcceptable("this host gives out single blocks by their CID only, without a path")
        return
    if wanted.format is Format.IPNS_RECORD:
        # Of what has no record, the format says so itself.
        return
    if wanted.wanted.nothing_asked:
        raise BadRequest(
            "this host needs a format: ask for application/vnd.ipld.raw, application/vnd.ipld.car or "
            "application/vnd.ipfs.ipns-record"
        )
    raise NotAcceptable(
        "this host gives out verifiable formats only: format=raw, format=car or format=ipns-record"
    )
