"""`?format=car` of a path that leads nowhere: the blocks that show it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.car_parameters import kept_to, parse_car_parameters
from gateway.formats.content_headers import content_location
from gateway.headers import KNOWN_MISSING, content_disposition
from gateway.representation import Representation
from gateway.request import ContentRequest, parse_parameters
from ipld import car
from ipld.blocks import Block, BlockReader, Piece
from ipld.car_stream import sections
from ipld.car_traversal import Chosen, Walk
from ipld.errors import NoLink


async def represent_absence(blocks: BlockReader, wanted: ContentRequest, missing: NoLink) -> Representation:
    """The path as far as it goes, so that clients can tell by themselves that there is no more of it.

    A 404 would be a claim that nobody can check; remote backends of other gateways take one for a failure of
    this gateway. The root in the header is that of the path.
    """
    asked = parse_parameters(wanted.query)
    parameters = parse_car_parameters(asked, wanted.wanted.parameters)
    root = missing.trail[0]

    async def walk() -> Walk:
        chosen = Chosen(parameters.duplicates)
        for cid in missing.trail:
            if chosen.take(cid):
                yield Block(cid, await blocks.get(cid))

    async def read(_start: int, _stop: int) -> AsyncGenerator[Piece, None]:
        async with aclosing(sections(walk(), car.header([root]))) as pieces:
            async for piece in pieces:
                yield piece

    headers = {
        "X-Ipfs-Path": wanted.path.encoded(),
        "X-Ipfs-Roots": ",".join(map(str, missing.roots)),
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": content_disposition(wanted.filename or f"{root}.car", attachment=True),
    }
    if wanted.wanted.by_accept:
        headers["Content-Location"] = content_location(wanted) + kept_to(parameters, asked)
    if not wanted.path.mutable:
        headers["Cache-Control"] = KNOWN_MISSING
    return Representation(
        content_type=parameters.media_type,
        etag=f'W/"{root}.car.{len(missing.trail)}"',
        headers=headers,
        read=read,
        accept_ranges=False,
    )
