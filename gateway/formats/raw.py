"""`?format=raw`: the block itself."""

from __future__ import annotations

from gateway.formats.content_headers import content_headers
from gateway.headers import content_disposition
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.paths import Found


async def represent_raw(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Trustless gateway spec, "Block (raw)"."""
    headers = content_headers(wanted, found)
    headers["Content-Disposition"] = content_disposition(
        wanted.filename or f"{found.cid}.bin", attachment=True
    )
    headers["X-Content-Type-Options"] = "nosniff"
    return Representation(
        content_type="application/vnd.ipld.raw",
        etag=f'"{found.cid}.raw"',
        headers=headers,
        body=await blocks.get(found.cid),
    )
