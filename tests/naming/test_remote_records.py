"""Records from other servers: routers and gateways, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from ipld.errors import ExpiredRecord, InvalidRecord
from ipld.ipns_record import MAX_BYTES, MEDIA_TYPE
from naming.delegated_routing import DelegatedRouter
from naming.records import RecordsUnavailable
from naming.upstream_records import UpstreamRecords
from tests.naming.ipns_records import QUICK, Owner, Server, remote, server


@asynccontextmanager
async def that_was_away(owner: Owner) -> AsyncIterator[tuple[Server, DelegatedRouter]]:
    """A server that is left alone, for a moment."""
    async with server() as other, remote(other.url, replace(QUICK, rest=0.05, fail_max=1)) as asked:
        router = DelegatedRouter(asked)
        other.gives(status=503)
        with pytest.raises(RecordsUnavailable):
            await router.find(owner.name)
        yield other, router


async def test_where_each_kind_is_asked() -> None:
    owner = Owner()
    record = owner.record()
    async with server() as other, remote(other.url) as asked:
        other.gives(record.raw)
        assert await DelegatedRouter(asked).find(owner.name) == record
        assert await UpstreamRecords(asked).find(owner.name) == record
        assert other.asked == [
            ("GET", f"/routing/v1/ipns/{owner.name}"),
            ("GET", f"/ipns/{owner.name}?format=ipns-record"),
        ]


@pytest.mark.parametrize(
    ("status", "content_type"), [(404, MEDIA_TYPE), (200, "text/plain"), (400, MEDIA_TYPE), (204, MEDIA_TYPE)]
)
async def test_what_means_that_there_is_none(status: int, content_type: str) -> None:
    owner = Owner()
    async with server() as other, remote(other.url) as asked:
        other.gives(owner.record().raw, status, content_type)
        assert await DelegatedRouter(asked).find(owner.name) is None
        assert len(other.asked) == 1


async def test_records_that_do_not_count() -> None:
    owner, stranger = Owner(), Owner()
    async with server() as other, remote(other.url) as asked:
        for body, reason in (
            (stranger.record().raw, "not signed by the key"),
            (owner.record(seconds=-1).raw, "expired"),
            (b"\xff" * 50, "no protobuf"),
            (bytes(MAX_BYTES + 1), "allowed"),
            (b"\0" * 10_000_000, "allowed"),
        ):
            other.gives(body)
            for source in (DelegatedRouter(asked), UpstreamRecords(asked)):
                with pytest.raises(InvalidRecord, match=reason):
                    await source.find(owner.name)
        # A wrong answer is an answer: nobody tries again, and the breaker stays shut.
        assert len(other.asked) == 10
        other.gives(owner.record().raw)
        assert await DelegatedRouter(asked).find(owner.name)
    assert issubclass(ExpiredRecord, InvalidRecord)


async def test_redirects_are_followed_so_far() -> None:
    owner = Owner()
    record = owner.record()

    async def answer(request: web.Request) -> web.StreamResponse:
        hops = int(request.query.get("hops", "0"))
        if hops < int(request.headers.get("X-Hops", "2")):
            raise web.HTTPFound(f"/ipns/x?hops={hops + 1}")
        return web.Response(body=record.raw, content_type=MEDIA_TYPE)

    async with server() as other, remote(other.url) as asked:
        other.answer = answer
        assert await UpstreamRecords(asked).find(owner.name) == record

        async def loop(_: web.Request) -> web.StreamResponse:
            raise web.HTTPFound("/again")

        other.answer = loop
        with pytest.raises(RecordsUnavailable):
            await UpstreamRecords(asked).find(owner.name)


@pytest.mark.parametrize("status", [503, 429, 408])
async def test_passing_faults_are_tried_three_times(status: int) -> None:
    owner = Owner()
    record = owner.record()
    async with server() as other, remote(other.url) as asked:
        answers = [web.Response(status=status), web.Response(status=status)]

        async def answer(_: web.Request) -> web.StreamResponse:
            return answers.pop() if answers else web.Response(body=record.raw, content_type=MEDIA_TYPE)

        other.answer = answer
        assert await DelegatedRouter(asked).find(owner.name) == record
        assert len(other.asked) == 3


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_failure_for_some_names_cuts_off_nobody(status: int) -> None:
    """Gateways answer so for names that they cannot resolve, and whoever likes can make those."""
    owner = Owner()
    async with server() as other, remote(other.url) as asked:
        other.gives(b"cannot resolve", status, "text/plain")
        for source in (DelegatedRouter(asked), UpstreamRecords(asked)):
            for _ in range(QUICK.fail_max + 1):
                with pytest.raises(RecordsUnavailable, match=f"{status}: cannot resolve"):
                    await source.find(Owner().name)
        # Asking again for the same name would give the same.
        assert len(other.asked) == 2 * (QUICK.fail_max + 1)
        other.gives(owner.record().raw)
        assert await DelegatedRouter(asked).find(owner.name)
        # A record that is put is worth more tries: the next time is in hours.
        other.asked.clear()
        other.gives(b"passing", status, "text/plain")
        with pytest.raises(RecordsUnavailable, match=f"{status}: passing"):
            await DelegatedRouter(asked).announce(owner.name, owner.record())
        assert len(other.asked) == QUICK.tries


async def test_a_server_that_fails_for_a_name_is_back() -> None:
    owner = Owner()
    async with that_was_away(owner) as (other, router):
        await asyncio.sleep(0.1)
        other.gives(status=500)
        with pytest.raises(RecordsUnavailable, match="answered 500"):
            await router.find(owner.name)
        other.gives(owner.record().raw)
        assert await router.find(owner.name)


async def test_a_server_that_is_down_is_left_alone() -> None:
    owner = Owner()
    async with server() as other, remote(other.url, replace(QUICK, rest=1.0)) as asked:
        router = DelegatedRouter(asked)
        other.gives(b"out of order", 503, "text/plain")
        for _ in range(2):
            with pytest.raises(RecordsUnavailable, match="503: out of order"):
                await router.find(owner.name)
        assert len(other.asked) == 5
        with pytest.raises(RecordsUnavailable, match="is not asked at present") as caught:
            await router.find(owner.name)
        assert caught.value.retry_after >= 1
        assert len(other.asked) == 5
        await asyncio.sleep(1.05)
        other.gives(owner.record().raw)
        assert await router.find(owner.name)


async def test_one_request_finds_out_whether_a_server_is_back() -> None:
    owner = Owner()
    release = asyncio.Event()
    async with that_was_away(owner) as (other, router):

        async def answer(_: web.Request) -> web.StreamResponse:
            await release.wait()
            return web.Response(body=owner.record().raw, content_type=MEDIA_TYPE)

        await asyncio.sleep(0.1)
        other.answer, before = answer, len(other.asked)
        trial = asyncio.create_task(router.find(owner.name))
        while len(other.asked) == before:
            await asyncio.sleep(0.005)
        with pytest.raises(RecordsUnavailable, match="not asked at present"):
            await router.find(owner.name)
        release.set()
        assert await trial
        assert await router.find(owner.name)


async def test_a_trial_that_is_given_up_leaves_the_breaker_open() -> None:
    owner = Owner()
    async with that_was_away(owner) as (other, router):

        async def hang(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.5)
            return web.Response(status=404)

        other.answer = hang
        await asyncio.sleep(0.1)
        trial = asyncio.create_task(router.find(owner.name))
        await asyncio.sleep(0.1)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        await asyncio.sleep(0.1)
        other.gives(owner.record().raw)
        assert await router.find(owner.name)


async def test_a_silent_server_is_given_up() -> None:
    owner = Owner()
    terms = replace(QUICK, timeout=0.1, tries=2)
    async with server() as other, remote(other.url, terms) as asked:

        async def hang(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(5)
            return web.Response()

        other.answer = hang
        with pytest.raises(RecordsUnavailable, match=r"did not answer within 0.1 s"):
            await DelegatedRouter(asked).find(owner.name)


async def test_nobody_there() -> None:
    async with server() as other:
        url = other.url
    async with remote(url) as asked:
        with pytest.raises(RecordsUnavailable, match="cannot be asked"):
            await DelegatedRouter(asked).find(Owner().name)


async def test_a_password_is_sent_and_not_shown() -> None:
    owner = Owner()
    async with server() as other, remote(other.url.replace("://", "://me:word@")) as asked:
        other.gives(b"no", 403, "text/plain")
        with pytest.raises(RecordsUnavailable) as caught:
            await DelegatedRouter(asked).announce(owner.name, owner.record())
        assert "word" not in str(caught.value)
        assert asked.url == other.url
        assert other.credentials == ["Basic bWU6d29yZA=="]


async def test_announcing() -> None:
    owner = Owner()
    record = owner.record()
    async with server() as other, remote(other.url) as asked:
        router = DelegatedRouter(asked)
        other.gives()
        await router.announce(owner.name, record)
        assert other.asked == [("PUT", f"/routing/v1/ipns/{owner.name}")]
        assert other.bodies == [record.raw]
        other.gives(b"too old\x1b[31m\n", 400, "text/plain")
        with pytest.raises(RecordsUnavailable, match=r"answered 400: too old \[31m$"):
            await router.announce(owner.name, record)
