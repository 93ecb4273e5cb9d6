"""What Schemathesis makes of the formats of this API; it loads this module by its name."""

from __future__ import annotations

import os

import schemathesis
from hypothesis import strategies as st

from ipld.cid import RAW, Cid
from tests.gateway.api.words import FILES

schemathesis.openapi.format("cid", st.builds(lambda data: str(Cid.of(data, RAW)), st.binary(max_size=8)))
schemathesis.openapi.format("cursor", st.sampled_from(["AAYFAAAA" + "A" * 24, "AAYgm1pZ-_" + "B" * 22]))
schemathesis.openapi.format(
    "uuid", st.sampled_from(os.environ.get(FILES, "").split(",")) | st.uuids().map(str)
)
