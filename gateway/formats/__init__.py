"""The response formats: each module turns what a path leads to into a Representation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gateway.formats.car import represent_car
from gateway.formats.codec import represent_codec
from gateway.formats.dir_json import represent_dir_json
from gateway.formats.raw import represent_raw
from gateway.formats.tar import represent_tar
from gateway.formats.zip import represent_zip
from gateway.negotiation import Format
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.paths import Found

Represent = Callable[[BlockReader, ContentRequest, Found], Awaitable[Representation]]

# `represent_codec` gives UnixFS to `represent_unixfs`: the block decides, where no format was named.
REPRESENT: Mapping[Format, Represent] = {
    Format.UNIXFS: represent_codec,
    Format.RAW: represent_raw,
    Format.CAR: represent_car,
    Format.TAR: represent_tar,
    Format.ZIP: represent_zip,
    Format.JSON: represent_codec,
    Format.CBOR: represent_codec,
    Format.DAG_JSON: represent_codec,
    Format.DAG_CBOR: represent_codec,
    Format.DIR_JSON: represent_dir_json,
}
