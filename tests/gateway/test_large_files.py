"""Ranges over files of several MiB, of both profiles, through the whole gateway."""

from __future__ import annotations

import asyncio
import email
import random
import re

import pytest

from gateway.ranges import parse_range
from tests.gateway.gateways import MIB, Running

BODY = random.Random(1).randbytes(5 * MIB + 12_345)
PROFILES = ["unixfs-v1-2025", "unixfs-v0-2015"]


@pytest.mark.parametrize("profile", PROFILES)
async def test_whole_and_in_part(gate: Running, profile: str) -> None:
    cid = await gate.put("video.mp4", BODY, f"?profile={profile}")
    target = f"/ipfs/{cid}?filename=video.mp4"
    whole = await gate.get(target)
    assert whole.body == BODY
    for header in (
        "bytes=0-",
        "bytes=0-1",
        "bytes=-1",
        "bytes=262143-262145",
        f"bytes={3 * MIB}-",
        "bytes=-99999999",
    ):
        answer = await gate.get(target, Range=header)
        (span,) = parse_range(header, len(BODY)) or []
        assert answer.status == 206
        assert answer.body == BODY[span.start : span.stop]
        assert answer.headers["Content-Range"] == f"bytes {span.start}-{span.stop - 1}/{len(BODY)}"
        assert answer.headers["Content-Length"] == str(span.size)
        assert answer.headers["ETag"] == whole.headers["ETag"]
        assert answer.headers["Content-Type"] == "video/mp4"
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("profile", PROFILES)
async def test_several_ranges(gate: Running, profile: str) -> None:
    cid = await gate.put("x", BODY, f"?profile={profile}")
    answer = await gate.get(f"/ipfs/{cid}", Range=f"bytes=0-9,{MIB - 5}-{MIB + 5},-7")
    assert answer.status == 206
    assert answer.headers["Content-Length"] == str(len(answer.body))
    kind = answer.headers["Content-Type"]
    message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + answer.body)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert [part["Content-Range"] for part in parts] == [  # type: ignore[index]
        f"bytes 0-9/{len(BODY)}",
        f"bytes {MIB - 5}-{MIB + 5}/{len(BODY)}",
        f"bytes {len(BODY) - 7}-{len(BODY) - 1}/{len(BODY)}",
    ]
    boundary = re.escape(kind.partition("boundary=")[2].encode())
    bodies = re.split(rb"\r\n--" + boundary + rb"(?:--)?\r\n", answer.body)[1:-1]
    found = [body.partition(b"\r\n\r\n")[2] for body in bodies]
    assert found == [BODY[:10], BODY[MIB - 5 : MIB + 6], BODY[-7:]]


async def test_outside_and_malformed(gate: Running) -> None:
    cid = await gate.put("x", BODY)
    outside = await gate.get(f"/ipfs/{cid}", Range=f"bytes={len(BODY)}-")
    assert (outside.status, outside.headers["Content-Range"]) == (416, f"bytes */{len(BODY)}")
    assert "Content-Range" in outside.headers["Access-Control-Expose-Headers"]
    assert outside.headers["X-Ipfs-Path"] == f"/ipfs/{cid}"
    assert (await gate.get(f"/ipfs/{cid}", Range="bytes=x-")).status == 400
    assert (await gate.get(f"/ipfs/{cid}", Range="items=0-1")).body == BODY
    empty = await gate.put("e", b"")
    assert (await gate.get(f"/ipfs/{empty}", Range="bytes=0-")).status == 200


async def test_if_range(gate: Running) -> None:
    cid = await gate.put("x", BODY)
    same = await gate.get(f"/ipfs/{cid}", Range="bytes=1-2", If_Range=f'"{cid}"')
    other = await gate.get(f"/ipfs/{cid}", Range="bytes=1-2", If_Range='"other"')
    assert (same.status, other.status, len(other.body)) == (206, 200, len(BODY))


async def test_raw_blocks_have_ranges_too(gate: Running) -> None:
    cid = await gate.put("x", BODY[:MIB])
    answer = await gate.get(f"/ipfs/{cid}?format=raw", Range="bytes=500000-500009")
    assert (answer.status, answer.body) == (206, BODY[500_000:500_010])


async def test_damage_breaks_the_connection_and_never_ends_well(gate: Running) -> None:
    cid = await gate.put("x", BODY)
    ((key, (data, stored)),) = gate.objects.data.items()
    gate.objects.data[key] = data[:4_000_000] + bytes([data[4_000_000] ^ 1]) + data[4_000_001:], stored
    with pytest.raises(Exception, match=r".*") as caught:
        await gate.get(f"/ipfs/{cid}")
    assert "Error" in type(caught.value).__name__
    await asyncio.sleep(0.3)
    line = next(line for line in gate.log.getvalue().splitlines() if f"GET /ipfs/{cid} " in line)
    size = int(line.split()[5])
    assert 0 < size < len(BODY)
