"""`?format=car`: a path, and what lies under its end, as a CARv1."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.car_parameters import CarParameters, Scope, parse_car_parameters
from gateway.formats.archive import small_body
from gateway.formats.content_headers import content_headers
from gateway.headers import content_disposition
from gateway.refusals import BadRequest
from gateway.representation import Representation
from gateway.request import ContentRequest, parse_parameters
from ipld import car
from ipld.blocks import Block, BlockReader, Buffer, Piece
from ipld.car_traversal import Chosen, entity, whole_dag
from ipld.cid import Cid
from ipld.errors import NotUnixFs
from ipld.paths import Found
from ipld.unixfs.node import Kind, decode_node

# Blocks are collected up to this size before they are sent: many are small.
PIECE_BYTES = 256 * 1024


async def represent_car(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Trustless gateway spec, "CAR"; the root in the header is the end of the path."""
    parameters = parse_car_parameters(parse_parameters(wanted.query), wanted.wanted.parameters)
    span = await _span(blocks, found.cid, parameters)
    headers = content_headers(wanted, found)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Disposition"] = content_disposition(wanted.filename or _name(wanted), attachment=True)
    if "Content-Location" in headers:
        headers["Content-Location"] += _kept_to(parameters)

    async def read(_start: int, _stop: int) -> AsyncGenerator[Piece, None]:
        async with aclosing(_pieces(blocks, found, parameters, span)) as pieces:
            async for piece in pieces:
                yield piece

    return Representation(
        content_type=parameters.media_type,
        etag=_etag(wanted, parameters),
        headers=headers,
        body=await small_body(read(0, 0)),
        read=read,
        accept_ranges=False,
    )


async def _span(blocks: BlockReader, cid: Cid, parameters: CarParameters) -> tuple[int, int] | None:
    """The bytes of the file that are wanted, None for all of whatever it is."""
    if parameters.bytes is None or parameters.scope is not Scope.ENTITY:
        return None
    try:
        node = decode_node(cid, await blocks.get(cid))
    except NotUnixFs:
        return None
    if node.kind not in (Kind.FILE, Kind.RAW):
        return None
    span = parameters.bytes.within(node.size)
    if span is None and node.size:
        raise BadRequest(f"entity-bytes lies outside the {node.size} bytes of the file")
    return span


def _name(wanted: ContentRequest) -> str:
    path = wanted.path
    return f"{path.root}_{path.segments[-1]}.car" if path.segments else f"{path.root}.car"


def _kept_to(parameters: CarParameters) -> str:
    return f"&car-version=1&car-order=dfs&car-dups={'y' if parameters.duplicates else 'n'}"


def _etag(wanted: ContentRequest, parameters: CarParameters) -> str:
    # Weak: another traversal may give the same blocks in another order.
    text = f"{wanted.path}\0{parameters}"
    digest = b32encode(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:10]).decode().lower()
    return f'W/"{wanted.path.root}.car.{digest}"'


async def _pieces(
    blocks: BlockReader, found: Found, parameters: CarParameters, span: tuple[int, int] | None
) -> AsyncGenerator[Buffer, None]:
    buffer = bytearray(car.header([found.cid]))
    async with aclosing(_blocks(blocks, found, parameters, span)) as chosen:
        async for block in chosen:
            buffer += car.frame(block.cid, len(block.data))
            if len(block.data) >= PIECE_BYTES:
                yield buffer
                yield block.data
                buffer = bytearray()
                continue
            buffer += block.data
            if len(buffer) >= PIECE_BYTES:
                yield buffer
                buffer = bytearray()
    if buffer:
        yield buffer


async def _blocks(
    blocks: BlockReader, found: Found, parameters: CarParameters, span: tuple[int, int] | None
) -> AsyncGenerator[Block, None]:
    """The blocks along the path first, then those that the scope chooses under its end."""
    chosen = Chosen(parameters.duplicates)
    for cid in found.trail:
        if cid != found.cid and chosen.take(cid):
            yield Block(cid, await blocks.get(cid))
    if parameters.scope is Scope.BLOCK:
        if chosen.take(found.cid):
            yield Block(found.cid, await blocks.get(found.cid))
        return
    under = (
        whole_dag(blocks, found.cid, chosen)
        if parameters.scope is Scope.ALL
        else entity(blocks, found.cid, chosen, span)
    )
    async with aclosing(under) as rest:
        async for block in rest:
            yield block
