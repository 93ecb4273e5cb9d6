"""Blocks of json, cbor, dag-json and dag-cbor, each in its own codec: nothing is converted (IPIP-0524)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.formats.codec_page import represent_preview
from gateway.formats.content_headers import content_headers, last_modified
from gateway.formats.unixfs import represent_unixfs
from gateway.headers import content_disposition
from gateway.negotiation import Format
from gateway.refusals import NotAcceptable
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld import codecs
from ipld.blocks import BlockReader
from ipld.cid import CBOR, DAG_CBOR, DAG_JSON, DAG_PB, JSON, RAW, codec_name
from ipld.paths import Found


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a format is sent. `codecs` are those whose blocks are in that format already."""

    media_type: str
    extension: str
    codecs: tuple[int, ...]


_SHAPES: Mapping[Format, _Shape] = {
    Format.JSON: _Shape("application/json", "json", (JSON, DAG_JSON)),
    Format.CBOR: _Shape("application/cbor", "cbor", (CBOR, DAG_CBOR)),
    Format.DAG_JSON: _Shape("application/vnd.ipld.dag-json", "json", (DAG_JSON,)),
    Format.DAG_CBOR: _Shape("application/vnd.ipld.dag-cbor", "cbor", (DAG_CBOR,)),
}
_NATIVE: Mapping[int, Format] = {
    JSON: Format.JSON,
    CBOR: Format.CBOR,
    DAG_JSON: Format.DAG_JSON,
    DAG_CBOR: Format.DAG_CBOR,
}


async def represent_codec(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """For these four formats and for none at all; a client that names HTML in Accept gets a page.

    Raises NotAcceptable for a codec that the format is not of, and MalformedBlock for a block that its codec
    does not allow: a client would refuse it as well, and `format=raw` still gives the bytes.
    """
    codec = found.cid.codec
    if codec in (RAW, DAG_PB) and wanted.format in (Format.UNIXFS, Format.JSON, Format.CBOR):
        return await _represent_unixfs(blocks, wanted, found)
    chosen = wanted.format or _NATIVE.get(codec)
    if chosen is None:
        return await represent_unixfs(blocks, wanted, found)
    if codec not in _SHAPES[chosen].codecs:
        raise NotAcceptable(
            f'format "{_SHAPES[chosen].media_type}" requested but block has codec "{codec_name(codec)}": '
            "codec conversion is not supported, fetch raw block with ?format=raw and convert client-side"
        )
    # Browsers show plain json as it is, and plain cbor need not have a form that we could show.
    if wanted.html and not wanted.format and not wanted.download and codec in (DAG_JSON, DAG_CBOR):
        return await represent_preview(blocks, wanted, found)
    return await _represent_block(blocks, wanted, found, chosen)


async def _represent_unixfs(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """JSON and CBOR in files are files; nearly all requests for `format=json` mean those (IPIP-0524)."""
    shown = await represent_unixfs(blocks, wanted, found)
    if not wanted.format or shown.etag != f'"{found.cid}"':
        return shown
    return replace(shown, etag=f'"{found.cid}.{wanted.format}"')


async def _represent_block(
    blocks: BlockReader, wanted: ContentRequest, found: Found, chosen: Format
) -> Representation:
    shape, cid = _SHAPES[chosen], found.cid
    block = await blocks.get(cid)
    await codecs.check(cid.codec, block)
    headers = content_headers(wanted, found)
    headers["Content-Disposition"] = content_disposition(
        wanted.filename or f"{cid}.{shape.extension}",
        attachment=wanted.download or shape.extension == "cbor",
    )
    headers["X-Content-Type-Options"] = "nosniff"
    return Representation(
        content_type=shape.media_type,
        etag=f'"{cid}.{chosen}"',
        headers=headers,
        last_modified=last_modified(found, None),
        body=block,
    )
