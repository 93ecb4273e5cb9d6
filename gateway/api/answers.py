"""What the API answers with: JSON that no cache keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from aiohttp import hdrs, web

from gateway.headers import NO_STORE
from storage.files import KeptFile
from storage.objects import Receipt

JSON = "application/json; charset=utf-8"


def answer(body: Mapping[str, object], status: int = 200) -> web.Response:
    """The body, readable; what a key may see is for its keeper alone."""
    headers = {hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: NO_STORE}
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return web.Response(status=status, headers=headers, body=text.encode("utf-8", "replace"))


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339, in UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def receipt_json(receipt: Receipt) -> dict[str, object]:
    """Where the store publishes on IPFS: under which CID, null where it did not say."""
    if not receipt.publishes:
        return {}
    return {"filebase_cid": None if receipt.published is None else str(receipt.published)}


def file_json(file: KeptFile) -> dict[str, object]:
    """`File` of the OpenAPI document."""
    return {
        "id": str(file.file_id),
        "cid": str(file.root),
        "name": file.name,
        "size": file.size,
        "created_at": timestamp(file.created_at),
        "expires_at": timestamp(file.expires_at),
        "path": f"/ipfs/{file.root}",
    }
