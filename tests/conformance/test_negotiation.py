"""Which format a request means (IPIP-0523, RFC 9110 section 12.5.1), and what trustless hosts refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import REPRESENT
from gateway.hosts import HostRules, Hosts
from gateway.negotiation import MEDIA_TYPES, Format, negotiate
from tests.gateway.gateways import Running, running

RAW, CAR = "application/vnd.ipld.raw", "application/vnd.ipld.car"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        (None, None, Format.UNIXFS),
        (None, "*/*", Format.UNIXFS),
        (None, BROWSER, Format.UNIXFS),
        (None, RAW, Format.RAW),
        (None, f"{RAW}, {CAR}", Format.RAW),
        (None, f"{RAW};q=0.1, {CAR};q=0.9", Format.CAR),
        (None, f"{RAW};q=0, {CAR};q=0.5", Format.CAR),
        (None, f"{RAW};q=nonsense", Format.UNIXFS),
        (None, f"*/*, {RAW}", Format.RAW),
        (None, f"text/html, {RAW};q=0.5", Format.UNIXFS),
        (None, "APPLICATION/VND.IPLD.CAR; dups=y", Format.CAR),
        (None, "application/json", Format.JSON),
        ("raw", CAR, Format.RAW),
        ("webp", RAW, Format.RAW),
        ("webp", None, Format.UNIXFS),
        ("", None, Format.UNIXFS),
    ],
)
def test_the_format(query: str | None, accept: str | None, expected: Format) -> None:
    assert negotiate(query, accept).format is expected


def test_parameters_count_where_the_type_is_the_same() -> None:
    assert negotiate("car", f"{CAR}; dups=y; order=dfs").parameters == {"dups": "y", "order": "dfs"}
    assert negotiate("raw", f"{CAR}; dups=y").parameters == {}
    assert negotiate(None, f'{CAR}; dups="y"; q=0.3').parameters == {"dups": "y"}


def test_every_format_is_served() -> None:
    # A record of a name is no form of the content behind it.
    assert set(REPRESENT) == set(Format) - {Format.IPNS_RECORD}
    assert set(MEDIA_TYPES.values()) == set(Format) - {Format.UNIXFS}


@given(st.text(max_size=100))
def test_any_accept_is_read(accept: str) -> None:
    assert negotiate(None, accept).format in Format


async def test_only_if_cached(gate: Running) -> None:
    cid = (await gate.write("PUT", "/ipfs/x", b"here")).cid
    assert (await gate.get(f"/ipfs/{cid}", Cache_Control="only-if-cached")).body == b"here"
    missing = "/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN"
    for value in ("only-if-cached", "no-cache, Only-If-Cached"):
        assert (await gate.get(missing, Cache_Control=value)).status == 412
        assert (await gate.ask("HEAD", missing, {"Cache-Control": value})).status == 412
    assert (await gate.get(missing, Cache_Control="no-cache")).status == 404


async def test_trustless_hosts() -> None:
    async with running(hosts=Hosts({"bare.example": HostRules(deserialized=False)})) as gate:
        path = f"/ipfs/{(await gate.post_form([('a', b'1'), ('b', b'2')])).cid}"

        async def status(target: str, **headers: str) -> int:
            return (await gate.get(target, Host="bare.example:8080", **headers)).status

        # What another host was given must not be given here out of the cache.
        assert (await gate.get(f"{path}/a")).status == 200
        assert await status(f"{path}/a") == 400
        assert await status(f"{path}/a", Accept="text/html") == 406
        assert await status(f"{path}?format=raw") == 200
        assert await status(path, Accept=RAW) == 200
        assert await status(f"{path}/a?format=raw") == 406
        assert await status(f"{path}/a?format=car") == 200
        assert await status(f"{path}?format=tar") == 406
        assert await status(f"{path}?format=dag-json") == 406
