"""The response formats: each module turns what a path leads to into a Representation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gateway.formats.raw import represent_raw
from gateway.formats.unixfs import represent_unixfs
from gateway.negotiation import Format
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.paths import Found

Represent = Callable[[BlockReader, ContentRequest, Found], Awaitable[Representation]]

REPRESENT: Mapping[Format, Represent] = {
    Format.UNIXFS: represent_unixfs,
    Format.RAW: represent_raw,
}
