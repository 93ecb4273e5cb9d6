"""`?format=car`: a path, and what lies under its end, as a CARv1."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from gateway.car_parameters import CarParameters, Scope, kept_to, parse_car_parameters
from gateway.formats.content_headers import content_headers
from gateway.headers import content_disposition
from gateway.refusals import BadRequest
from gateway.representation import Representation
from gateway.request import ContentRequest, parse_parameters
from gateway.small_bodies import SMALL_BYTES, made_later
from ipld import car, dag_pb
from ipld.blocks import Block, BlockReader, Piece, WholeDag
from ipld.car_stream import dag_sections, sections, whole_dag_of
from ipld.car_traversal import Chosen, Walk, entity
from ipld.cid import DAG_PB, Cid
from ipld.errors import MalformedBlock, NotUnixFs
from ipld.paths import Found
from ipld.unixfs.node import Kind, decode_node

# What is sent of the DAG under the end of the path: the bytes of a file, None for all of it; and where
# the whole of it lies, if it does in one place.
_Under = tuple[Scope, tuple[int, int] | None, WholeDag | None]
_NOTHING = (0, 0)


async def represent_car(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Trustless gateway spec, "CAR"; the root in the header is the end of the path."""
    asked = parse_parameters(wanted.query)
    parameters = parse_car_parameters(asked, wanted.wanted.parameters)
    # HEAD and 304 too answer 404 where the block is not here (trustless gateway spec, "404 Not Found").
    first = await blocks.get(found.cid)
    span = _span(found.cid, first, parameters)
    scope = Scope.BLOCK if span == _NOTHING else parameters.scope
    headers = content_headers(wanted, found)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Disposition"] = content_disposition(wanted.filename or _name(found), attachment=True)
    if "Content-Location" in headers:
        headers["Content-Location"] += kept_to(parameters, asked)
    whole = None
    if scope is Scope.ALL:
        whole = await whole_dag_of(blocks, found.cid, duplicates=parameters.duplicates)

    async def read(_start: int, _stop: int) -> AsyncGenerator[Piece, None]:
        walk = _blocks(blocks, found, Chosen(parameters.duplicates), (scope, span, whole))
        async with aclosing(sections(walk, car.header([found.cid]))) as pieces:
            async for piece in pieces:
                yield piece

    shown = Representation(
        content_type=parameters.media_type,
        etag=_etag(found, parameters),
        size=_size(found, whole),
        headers=headers,
        read=read,
        accept_ranges=False,
    )
    about = shown.size or _about(found.cid, first, scope, span)
    return shown if about > SMALL_BYTES else made_later(shown)


def _size(found: Found, whole: WholeDag | None) -> int | None:
    """The bytes of the CAR where that is known without a look at each block."""
    if whole is None or any(cid != found.cid for cid in found.trail):
        return None
    return len(car.header([found.cid])) + whole.size


def _about(cid: Cid, block: bytes, scope: Scope, span: tuple[int, int] | None) -> int:
    """How many bytes are sent, as the first block has it: nothing may rest on that but when they are sent."""
    if span is not None or scope is Scope.BLOCK:
        return span[1] - span[0] if span is not None else 0
    with suppress(NotUnixFs, MalformedBlock):
        if scope is Scope.ENTITY:
            node = decode_node(cid, block)
            return node.size if node.kind is Kind.FILE else 0
        if cid.codec == DAG_PB:
            return sum(link.tsize or 0 for link in dag_pb.decode(block).links)
    return 0


def _span(cid: Cid, block: bytes, parameters: CarParameters) -> tuple[int, int] | None:
    """The bytes of the file that are wanted, None for all of whatever it is; `_NOTHING` for none of them."""
    wanted = parameters.bytes
    if wanted is None or parameters.scope is not Scope.ENTITY:
        return None
    try:
        node = decode_node(cid, block)
    except NotUnixFs:
        return None
    if node.kind not in (Kind.FILE, Kind.RAW) or not node.size:
        return None
    if wanted.is_outside(node.size):
        raise BadRequest(f"entity-bytes lies outside the {node.size} bytes of the file")
    # A range of no bytes is as `dag-scope=block` (trustless gateway spec, "entity-bytes").
    return wanted.within(node.size) or _NOTHING


def _name(found: Found) -> str:
    segments = found.path.segments
    return f"{found.roots[0]}_{segments[-1]}.car" if segments else f"{found.roots[0]}.car"


def _etag(found: Found, parameters: CarParameters) -> str:
    # Weak: another traversal may give the same blocks in another order. Of the root that was found: what an
    # IPNS name stands for changes.
    root, wanted = found.roots[0], parameters.bytes
    kept = (*found.path.segments, parameters.scope, str(wanted), str(parameters.duplicates))
    digest = hashlib.sha256("\0".join(kept).encode("utf-8", "surrogateescape")).digest()
    return f'W/"{root}.car.{b32encode(digest[:10]).decode().lower()}"'


async def _blocks(blocks: BlockReader, found: Found, chosen: Chosen, under: _Under) -> Walk:
    """The blocks along the path first, then those that the scope chooses under its end."""
    scope, span, whole = under
    for cid in found.trail:
        if cid != found.cid and chosen.take(cid):
            yield Block(cid, await blocks.get(cid))
    if scope is Scope.BLOCK:
        if chosen.take(found.cid):
            yield Block(found.cid, await blocks.get(found.cid))
        return
    walk: Walk = (
        dag_sections(blocks, found.cid, chosen, whole)
        if scope is Scope.ALL
        else entity(blocks, found.cid, chosen, span)
    )
    async with aclosing(walk) as rest:
        async for each in rest:
            yield each
