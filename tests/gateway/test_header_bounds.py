"""Header fields are bounded together, whatever bounds each of them has."""

from __future__ import annotations

import pytest

from gateway.context import Limits
from gateway.negotiation import MAX_ENTRIES, Format, negotiate
from tests.gateway.gateways import Running, running


async def ask(gate: Running, accepts: list[str]) -> bytes:
    lines = ["GET /ipfs/bafkqaaa HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"Accept: {text}" for text in accepts]
    return await gate.raw("\r\n".join([*lines, "", ""]).encode())


@pytest.mark.parametrize("hot", [True, False])
async def test_together_they_are_bounded(hot: bool) -> None:
    async with running(Limits(header_bytes=20_000)) as gate:
        if hot:
            assert (await ask(gate, [])).startswith(b"HTTP/1.1 200 ")
        assert (await ask(gate, ["x/" + "a" * 6000] * 3)).startswith(b"HTTP/1.1 200 ")
        refused = await ask(gate, ["x/" + "a" * 6000] * 4)
        assert refused.startswith(b"HTTP/1.1 431 ")
        assert b"at most 20000 bytes" in refused
        assert gate.gateway.answers._kept.bytes < 100_000


def test_an_accept_is_read_up_to_a_point() -> None:
    raw = "application/vnd.ipld.raw"
    unknown = ["x/y;q=0.5"] * (MAX_ENTRIES - 1)
    assert negotiate(None, ",".join([*unknown, raw])).format is Format.RAW
    assert negotiate(None, ",".join([*unknown, "x/y", raw])).format is Format.UNIXFS
