"""IPNS over HTTP: names, their records, delegated routing and publishing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import cast

import pytest
from aiohttp import web

from auth.keys import KeyRequest, Scope
from config.settings import Settings
from gateway.background import renewing
from gateway.hosts import HostRules, Hosts
from gateway.ipns_wiring import open_ipns
from ipld.ipns_name import IpnsName
from ipld.ipns_record import MAX_BYTES, MEDIA_TYPE, IpnsRecord
from naming.delegated_routing import DelegatedRouter
from naming.ipns import IpnsNames
from naming.key_ring import KeyRing
from naming.memory_named_keys import MemoryNamedKeys
from naming.memory_records import MemoryRecords
from naming.postgres_records import Pool
from naming.publisher import Publisher
from naming.record_search import RecordSearch, SearchTerms
from naming.records import Origin, RecordsUnavailable
from naming.upstream_records import UpstreamRecords
from naming.via import MAX_HOPS, Via, new_mark
from tests.gateway.gateways import Answer, Running, running
from tests.naming.ipns_records import HELLO, QUICK, Owner, remote, server

SOME_KEY = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"


async def known(gate: Running, **terms: float) -> Owner:
    """A name of which the gateway has a record."""
    owner = Owner()
    await gate.gateway.ipns.put(owner.name, owner.record(**terms).raw)  # type: ignore[arg-type]
    return owner


def max_age(answer: Answer) -> int:
    policy = answer.headers["Cache-Control"]
    assert policy.startswith("public, max-age=")
    return int(policy.removeprefix("public, max-age=").partition(",")[0])


class TestNames:
    async def test_a_name_shows_its_content(self, gate: Running) -> None:
        cid = await gate.put("a.txt", b"hello")
        owner = Owner()
        await gate.gateway.ipns.put(owner.name, owner.record(value=f"/ipfs/{cid}", ttl=90).raw)
        answer = await gate.get(f"/ipns/{owner.name}?filename=a.txt")
        assert (answer.status, answer.body, max_age(answer)) == (200, b"hello", 90)
        assert answer.headers["X-Ipfs-Path"] == f"/ipns/{owner.name}"
        assert answer.headers["Etag"] == f'"{cid}"'

    async def test_max_age_ends_with_the_record(self, gate: Running) -> None:
        owner = await known(gate, seconds=20.0, ttl=3600.0)
        assert 15 <= max_age(await gate.get(f"/ipns/{owner.name}")) < 20

    async def test_names_may_point_to_names(self, gate: Running) -> None:
        inner = await known(gate, ttl=30.0)
        outer = Owner()
        await gate.gateway.ipns.put(outer.name, outer.record(value=f"/ipns/{inner.name}", ttl=600).raw)
        assert max_age(await gate.get(f"/ipns/{outer.name}")) == 30

    @pytest.mark.parametrize("base", ["base32", "base58btc"])
    async def test_other_forms_lead_to_the_canonical_one(self, gate: Running, base: str) -> None:
        owner = await known(gate)
        answer = await gate.get(f"/ipns/{owner.name.cid.encode(base)}/a?b=c")
        assert (answer.status, answer.headers["Location"]) == (302, f"/ipns/{owner.name}/a?b=c")

    async def test_names_that_lead_nowhere_are_errors_of_the_server(self, gate: Running) -> None:
        """Path gateway spec, "Handling traversal errors", as the official suite reads it."""
        nobody, expired, stranger = Owner(), Owner(), Owner()
        store = gate.gateway.ipns.store
        await store.put(expired.name, expired.record(seconds=-1), Origin.GIVEN)
        await store.put(stranger.name, Owner().record(), Origin.GIVEN)
        for owner, text in (
            (nobody, "no place that this gateway asks has a record"),
            (expired, "expired at 20"),
            (stranger, "not signed by the key"),
        ):
            answer = await gate.get(f"/ipns/{owner.name}")
            assert answer.status == 502
            assert text in answer.text
            assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("providers/bafkqaaa", 501),
        ("peers/x", 501),
        ("dht/closest/peers/x", 501),
        ("ipns", 400),
        ("x/y", 400),
        ("", 400),
    ],
)
async def test_the_rest_of_delegated_routing_is_refused(gate: Running, path: str, status: int) -> None:
    """HTTP routing v1 spec, "Error Codes"."""
    answer = await gate.get(f"/routing/v1/{path}")
    assert (answer.status, "/routing/v1/ipns/<name>" in answer.text) == (status, True)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


class TestRecordFormat:
    @pytest.mark.parametrize(("query", "accept"), [("?format=ipns-record", None), ("", MEDIA_TYPE)])
    async def test_the_record_itself(self, gate: Running, query: str, accept: str | None) -> None:
        owner = await known(gate, ttl=1800.0)
        headers = {"Accept": accept} if accept else {}
        answer = await gate.get(f"/ipns/{owner.name}{query}", **headers)
        assert answer.status == 200
        IpnsRecord.decode(answer.body).verify(owner.name, time.time())
        assert answer.headers["Content-Type"] == MEDIA_TYPE
        assert answer.headers["Cache-Control"] == "public, max-age=1800"
        assert answer.headers["Content-Disposition"].startswith(
            f'attachment; filename="{owner.name}.ipns-record"'
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert ("Content-Location" in answer.headers) == (accept is not None)

    async def test_the_etag_is_quoted_and_answers_304(self, gate: Running) -> None:
        owner = await known(gate)
        target = f"/ipns/{owner.name}?format=ipns-record"
        first = await gate.get(target)
        etag = first.headers["Etag"]
        assert etag.startswith('"')
        assert etag.endswith('"')
        again = await gate.get(target, If_None_Match=etag)
        assert (again.status, again.body) == (304, b"")
        await gate.gateway.ipns.put(owner.name, owner.record(1).raw)
        newer = await gate.get(target, If_None_Match=etag)
        assert newer.status == 200
        assert newer.headers["Etag"] != etag

    async def test_head_and_file_name(self, gate: Running) -> None:
        owner = await known(gate)
        target = f"/ipns/{owner.name}/?format=ipns-record&filename=test%D1%82.ipns-record"
        answer = await gate.get(target)
        assert "filename*=UTF-8''test%D1%82.ipns-record" in answer.headers["Content-Disposition"]
        head = await gate.ask("HEAD", target)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(answer.body))

    async def test_what_has_no_record(self, gate: Running) -> None:
        owner = await known(gate)
        for path, text in (
            (f"/ipns/{owner.name}/a", "without the path"),
            ("/ipns/example.com", "only keys have one"),
            ("/ipfs/bafkqaaa", "immutable"),
        ):
            answer = await gate.get(f"{path}?format=ipns-record")
            assert (answer.status, text in answer.text) == (400, True), answer.text
        # Other gateways take 404 for "there is none", and 502 for a fault.
        assert (await gate.get(f"/ipns/{Owner().name}?format=ipns-record")).status == 404

    async def test_trustless_hosts_give_out_records(self) -> None:
        async with running(hosts=Hosts({"bare.example": HostRules(deserialized=False)})) as gate:
            owner = await known(gate)
            host = {"Host": "bare.example"}
            assert (await gate.get(f"/ipns/{owner.name}?format=ipns-record", **host)).status == 200
            assert (await gate.get(f"/ipns/{owner.name}/a?format=ipns-record", **host)).status == 400
            assert (await gate.get(f"/ipns/{owner.name}", **host)).status in (400, 406)

    async def test_the_record_is_given_out_although_its_value_is_not_here(self, gate: Running) -> None:
        owner = Owner()
        missing = "/ipfs/bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
        await gate.gateway.ipns.put(owner.name, owner.record(value=missing).raw)
        assert (await gate.get(f"/ipns/{owner.name}?format=ipns-record")).status == 200
        assert (await gate.get(f"/ipns/{owner.name}")).status == 404


class TestRouting:
    """HTTP routing v1 spec, "IPNS API"."""

    async def test_put_then_get(self, gate: Running) -> None:
        owner = Owner()
        record = owner.record(ttl=120.0, seconds=3600.0)
        path = f"/routing/v1/ipns/{owner.name}"
        assert (await gate.write("PUT", path, record.raw, Content_Type=MEDIA_TYPE)).status == 200
        answer = await gate.get(path, Accept=MEDIA_TYPE)
        assert (answer.status, answer.body) == (200, record.raw)
        assert answer.headers["Content-Type"] == MEDIA_TYPE
        assert answer.headers["Vary"] == "Accept"
        assert answer.headers["Etag"] == record.etag
        assert max_age(answer) == 120
        stale = int(answer.headers["Cache-Control"].rpartition("=")[2])
        # Fresh and stale together end with the record.
        assert 3470 <= 120 + stale <= 3600
        assert f"stale-while-revalidate={stale}, stale-if-error={stale}" in answer.headers["Cache-Control"]
        end = parsedate_to_datetime(answer.headers["Expires"]).timestamp()
        assert abs(end - record.expires) <= 1
        assert abs(parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp() - time.time()) < 10
        assert f"{owner.name}.ipns-record" in answer.headers["Content-Disposition"]
        assert (await gate.ask("HEAD", path)).status == 200
        assert (await gate.get(path, If_None_Match=record.etag)).status == 304
        for form in ("base32", "base58btc"):
            assert (await gate.get(f"/routing/v1/ipns/{owner.name.cid.encode(form)}")).body == record.raw

    @pytest.mark.parametrize(("ttl", "seconds", "expected"), [(0.0, 3600.0, 60), (600.0, 30.0, 29)])
    async def test_max_age_without_a_ttl_and_near_the_end(
        self, gate: Running, ttl: float, seconds: float, expected: int
    ) -> None:
        owner = await known(gate, ttl=ttl, seconds=seconds)
        answer = await gate.get(f"/routing/v1/ipns/{owner.name}")
        assert expected - 2 <= max_age(answer) <= expected

    async def test_that_there_is_none_is_no_error(self, gate: Running) -> None:
        answer = await gate.get(f"/routing/v1/ipns/{Owner().name}")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert max_age(answer) == 15
        assert answer.headers["Vary"] == "Accept"

    @pytest.mark.parametrize(
        ("accept", "status"),
        [
            (MEDIA_TYPE, 200),
            ("*/*", 200),
            ("application/*", 200),
            (f"text/html, {MEDIA_TYPE};q=0.1", 200),
            ("application/json", 406),
            ("text/*", 406),
            (f"{MEDIA_TYPE};q=0", 406),
        ],
    )
    async def test_accept(self, gate: Running, accept: str, status: int) -> None:
        owner = await known(gate)
        answer = await gate.get(f"/routing/v1/ipns/{owner.name}", Accept=accept)
        assert answer.status == status
        assert status == 200 or f"Accept: {MEDIA_TYPE}" in answer.text

    async def test_puts_that_are_refused(self, gate: Running) -> None:
        owner = Owner()
        path = f"/routing/v1/ipns/{owner.name}"
        good = owner.record(5).raw

        async def put(path: str, body: bytes, kind: str = MEDIA_TYPE) -> Answer:
            return await gate.write("PUT", path, body, Content_Type=kind)

        assert (await gate.ask("PUT", path, {"Content-Type": MEDIA_TYPE}, good)).status == 401
        assert (await put(path, good, "application/json")).status == 406
        assert (await put("/routing/v1/ipns/example.com", good)).status == 400
        assert (await put(f"/routing/v1/ipns/{Owner().name}", good)).status == 400
        assert (await put(path, owner.record(seconds=-1).raw)).status == 400
        assert (await put(path, b"")).status == 400
        assert (await put(path, bytes(MAX_BYTES + 1))).status == 413
        assert (await gate.get(path)).headers["Content-Type"].startswith("text/plain")
        assert (await put(path, good)).status == 200
        assert (await put(path, good)).status == 200
        older = await put(path, owner.record(4).raw)
        assert (older.status, older.reason) == (409, "OLDER_RECORD")
        assert "its sequence is 5, that of the one given 4" in older.text

    async def test_a_key_that_may_only_read(self, gate: Running) -> None:
        new = await gate.keys.create(KeyRequest("reader", frozenset({Scope.READ})))
        owner = Owner()
        headers = {"Authorization": f"Bearer {new.secret}", "Content-Type": MEDIA_TYPE}
        path = f"/routing/v1/ipns/{owner.name}"
        assert (await gate.ask("PUT", path, headers, owner.record().raw)).status == 403

    async def test_options_and_other_methods(self, gate: Running) -> None:
        path = f"/routing/v1/ipns/{Owner().name}"
        answer = await gate.ask("OPTIONS", path)
        assert (answer.status, answer.headers["Allow"]) == (200, "GET, HEAD, OPTIONS, PUT")
        assert (await gate.write("DELETE", path)).status == 405

    async def test_failures_elsewhere_are_said(self, caplog: pytest.LogCaptureFixture) -> None:
        """And which servers those are stays in the log: they may be internal ones."""

        class Down:
            url = "https://router.example"

            async def find(self, name: IpnsName, via: Via) -> IpnsRecord | None:
                raise RecordsUnavailable("router.example is down", 7)

        names = IpnsNames(MemoryRecords(), RecordSearch([[Down()]]))
        async with running(ipns=names, names=names) as other:
            for target in ("/routing/v1/ipns/{}", "/ipns/{}", "/ipns/{}?format=ipns-record"):
                name = Owner().name
                answer = await other.get(target.format(name))
                assert (answer.status, answer.headers["Retry-After"]) == (502, "7")
                assert f"the record of {name} cannot be looked for now" in answer.text
                assert "router.example" not in f"{answer.text}{answer.headers}"
                assert f"cannot look for the record of {name}: router.example is down" in caplog.text


class TestPublishing:
    async def test_a_site_is_updated_under_one_name(self, gate: Running) -> None:
        one, two = await gate.put("a", b"one"), await gate.put("a", b"two")
        first = await gate.write("POST", f"/ipns/blog?arg=/ipfs/{one}")
        assert first.status == 201
        said = first.json
        name = said["name"]
        assert first.headers["Location"] == f"/ipns/{name}"
        assert {**said, "eol": "", "name": ""} == {
            "name": "",
            "key": "blog",
            "value": f"/ipfs/{one}",
            "sequence": 0,
            "eol": "",
            "ttl": 300,
            "announced": {},
        }
        assert (await gate.get(f"/ipns/{name}")).body == b"one"
        second = await gate.write("POST", f"/ipns/blog?arg={two}")
        assert (second.status, second.json["sequence"], second.json["name"]) == (200, 1, name)
        assert (await gate.get(f"/ipns/{name}")).body == b"two"
        by_name = await gate.write("POST", f"/ipns/{name}?arg=/ipfs/{one}/")
        assert (by_name.status, by_name.json["sequence"]) == (200, 2)

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (HELLO.encode(), "text/plain"),
            (HELLO.encode() + b"\n", "application/x-www-form-urlencoded"),
            (b"arg=" + HELLO.replace("/", "%2F").encode() + b"&ttl=60", "application/x-www-form-urlencoded"),
            (b"value=" + HELLO.encode(), "application/x-www-form-urlencoded"),
            (json.dumps({"value": HELLO, "ttl": "1m"}).encode(), "application/json"),
            (json.dumps({"value": HELLO, "ttl": 60, "lifetime": "24h"}).encode(), "application/json"),
        ],
    )
    async def test_the_value_in_the_body(self, gate: Running, body: bytes, kind: str) -> None:
        answer = await gate.write("POST", "/ipns/blog", body, Content_Type=kind)
        assert (answer.status, answer.json["value"]) == (201, HELLO)
        assert answer.json["ttl"] == (60 if b"ttl" in body else 300)

    async def test_a_value_is_the_path_byte_for_byte(self, gate: Running) -> None:
        """In a record a percent sign is one."""
        said = (await gate.write("POST", "/ipns/blog?arg=/ipfs/bafkqaaa/%2541/%C3%A9")).json
        assert said["value"] == "/ipfs/bafkqaaa/%41/é"
        record = (await gate.gateway.ipns.current(IpnsName.parse(str(said["name"])))).record
        assert record.value == "/ipfs/bafkqaaa/%41/é".encode()
        assert record.path().segments == ("%41", "é")

    async def test_lifetime_and_ttl(self, gate: Running) -> None:
        answer = await gate.write("POST", f"/ipns/blog?arg={HELLO}&lifetime=1h30m&ttl=10")
        assert answer.json["ttl"] == 10
        name = IpnsName.parse(str(answer.json["name"]))
        record = (await gate.gateway.ipns.current(name)).record
        assert abs(record.expires - time.time() - 5400) < 10
        # A TTL that nobody chose gives way to a short lifetime.
        ours = replace(gate.gateway.publisher.terms, ttl=7200.0)
        async with running(publisher=replace(gate.gateway.publisher, terms=ours)) as other:
            answer = await other.write("POST", f"/ipns/short?arg={HELLO}&lifetime=1h")
            assert answer.json["ttl"] == 3600

    @pytest.mark.parametrize(
        ("target", "body", "kind", "text"),
        [
            ("/ipns/blog", b"", "text/plain", "is missing"),
            ("/ipns/blog?arg=hello", b"", "text/plain", "neither a CID nor a path"),
            ("/ipns/blog?arg=bafkqaaa&ttl=soon", b"", "text/plain", "ttl is a duration"),
            ("/ipns/blog?arg=bafkqaaa&lifetime=5m", b"", "text/plain", "an hour to 100 years"),
            (f"/ipns/blog?arg=bafkqaaa&lifetime={'9' * 33}", b"", "text/plain", "is a duration"),
            ("/ipns/Big.Blog?arg=bafkqaaa", b"", "text/plain", "cannot name a key"),
            (f"/ipns/{SOME_KEY}?arg=bafkqaaa", b"", "text/plain", "it is an IPNS name"),
            ("/ipns/blog", b"\xff", "text/plain", "not UTF-8"),
            ("/ipns/blog", b"{", "application/json", "no JSON"),
            ("/ipns/blog", b"[" * 20_000, "application/json", "no JSON"),
            ("/ipns/blog", b"[]", "application/json", "a JSON object"),
            ("/ipns/blog", b'{"value": ["x"]}', "application/json", "is a text"),
            ("/ipns/blog", b'{"value": "/ipfs/bafkqaaa/\\ud800"}', "application/json", "no Unicode text"),
            ("/ipns/blog?arg=/ipfs/bafkqaaa/%FF", b"", "text/plain", "not UTF-8"),
            ("/ipns/blog", b"arg=/ipfs/bafkqaaa/%FF", "application/x-www-form-urlencoded", "not UTF-8"),
        ],
    )
    async def test_requests_that_make_no_record(
        self, gate: Running, target: str, body: bytes, kind: str, text: str
    ) -> None:
        answer = await gate.write("POST", target, body, Content_Type=kind)
        assert (answer.status, text in answer.text) == (400, True), answer.text
        # Nor a key.
        assert not await gate.gateway.publisher.ring.keys.list()

    async def test_a_body_that_is_too_long(self, gate: Running) -> None:
        assert (await gate.write("POST", "/ipns/blog", bytes(100_000))).status == 413

    async def test_whose_key_it_is(self, gate: Running) -> None:
        assert (await gate.ask("POST", f"/ipns/blog?arg={HELLO}")).status == 401
        assert (await gate.write("POST", f"/ipns/blog?arg={HELLO}")).status == 201

        async def post(*scopes: Scope) -> Answer:
            new = await gate.keys.create(KeyRequest("other", frozenset(scopes)))
            headers = {"Authorization": f"Bearer {new.secret}"}
            return await gate.ask("POST", f"/ipns/blog?arg={HELLO}", headers)

        refused = await post(Scope.UPLOAD)
        assert (refused.status, refused.reason) == (403, "NOT_YOUR_KEY")
        assert (await post(Scope.READ)).status == 403
        assert (await post(Scope.ADMIN)).status == 200

    async def test_without_a_secret(self) -> None:
        async with running() as gate:
            ring = KeyRing(MemoryNamedKeys())
            async with running(publisher=Publisher(ring, gate.gateway.ipns)) as off:
                answer = await off.write("POST", f"/ipns/blog?arg={HELLO}")
                assert (answer.status, answer.reason) == (501, "PUBLISHING_OFF")
                assert "IPNS_KEY_SECRET" in answer.text

    async def test_options(self, gate: Running) -> None:
        answer = await gate.ask("OPTIONS", "/ipns/blog")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


async def test_names_are_kept_alive_and_what_was_found_is_dropped(
    gate: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = IpnsName.parse(str((await gate.write("POST", f"/ipns/blog?arg={HELLO}&lifetime=1h")).json["name"]))
    publisher, stranger = gate.gateway.publisher, Owner()
    await publisher.ring.keys.published("blog", 86400.0)
    await gate.gateway.ipns.store.put(stranger.name, stranger.record(), Origin.FOUND)
    monkeypatch.setattr("naming.publisher.CLAIM_SECONDS", 0.0)
    monkeypatch.setattr("naming.ipns.MAX_FOUND", 0)
    await renewing(publisher)()
    assert (await gate.gateway.ipns.current(name)).record.expires > time.time() + 80_000
    assert await gate.gateway.ipns.store.get(stranger.name) is None


@dataclass
class Elsewhere:
    """A place to ask that is known only once all gateways run."""

    source: DelegatedRouter | UpstreamRecords | None = None
    url: str = "https://elsewhere.example"

    async def find(self, *question: object) -> IpnsRecord | None:
        assert self.source is not None
        return await self.source.find(*question)  # type: ignore[arg-type]


@asynccontextmanager
async def asking_each_other(
    kind: type[DelegatedRouter | UpstreamRecords], *asked: tuple[int, ...]
) -> AsyncIterator[list[Running]]:
    """A gateway for each of `asked`, which are the places of those that it asks."""
    places = [[Elsewhere() for _ in others] for others in asked]
    async with AsyncExitStack() as stack:
        gates = []
        for group in places:
            names = IpnsNames(MemoryRecords(), RecordSearch([group], SearchTerms(timeout=60.0)))
            gates.append(await stack.enter_async_context(running(ipns=names, names=names)))
        for group, others in zip(places, asked, strict=True):
            for place, other in zip(group, others, strict=True):
                terms = replace(QUICK, timeout=60.0)
                place.source = kind(await stack.enter_async_context(remote(gates[other].url, terms)))
        yield gates


@pytest.mark.parametrize("kind", [DelegatedRouter, UpstreamRecords])
class TestGatewaysThatAskEachOther:
    """Who has been asked stands in `Via`, so that nobody waits for an answer to a question of his own."""

    async def record(self, gate: Running, name: IpnsName) -> IpnsRecord | None:
        answer = await gate.get(f"/routing/v1/ipns/{name}")
        assert answer.status == 200, answer.text
        return IpnsRecord.decode(answer.body) if answer.headers["Content-Type"] == MEDIA_TYPE else None

    @pytest.mark.parametrize(
        "asked",
        [((0,),), ((1,), (0,)), ((1,), (2,), (0,)), ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))],
        ids=["itself", "each other", "a ring", "all others"],
    )
    async def test_a_name_that_nobody_has(
        self, kind: type[DelegatedRouter], asked: tuple[tuple[int, ...], ...]
    ) -> None:
        async with asking_each_other(kind, *asked) as gates:
            name = Owner().name
            # All begin to look at the same time.
            assert [*await asyncio.gather(*(self.record(gate, name) for gate in gates * 3))] == [
                None for _ in gates * 3
            ]
            assert (await gates[0].get(f"/ipns/{Owner().name}?format=ipns-record")).status == 404

    async def test_each_finds_what_the_other_has(self, kind: type[DelegatedRouter]) -> None:
        async with asking_each_other(kind, (1,), (0,)) as gates:
            for one, other in (gates, reversed(gates)):
                owner = await known(one)
                assert (await self.record(other, owner.name)) == (await self.record(one, owner.name))
                assert (await other.get(f"/ipns/{owner.name}")).status == 200

    async def test_a_chain_is_followed(self, kind: type[DelegatedRouter]) -> None:
        async with asking_each_other(kind, (1,), (2,), (3,), ()) as gates:
            owner = await known(gates[3])
            assert await self.record(gates[0], owner.name) is not None
            assert await self.record(gates[0], Owner().name) is None

    async def test_a_chain_has_an_end(self, kind: type[DelegatedRouter]) -> None:
        length = MAX_HOPS + 2
        async with asking_each_other(kind, *((place + 1,) for place in range(length - 1)), ()) as gates:
            owner = await known(gates[-1])
            assert await self.record(gates[0], owner.name) is None
            assert await self.record(gates[1], owner.name) is not None

    async def test_what_only_the_asker_may_rely_on(self, kind: type[DelegatedRouter]) -> None:
        """Not everybody is asked in such a search, so no cache keeps its outcome for other readers."""
        async with asking_each_other(kind, (1,), (0,)) as gates:
            through = f"1.0 fred, 1.1 {new_mark()}"
            here, there = await known(gates[0]), Owner()
            for target in (f"/routing/v1/ipns/{here.name}", f"/ipns/{here.name}?format=ipns-record"):
                shared, alone = await gates[0].get(target), await gates[0].get(target, Via=through)
                assert (alone.status, alone.body) == (shared.status, shared.body)
                assert alone.headers["Cache-Control"] == "no-store"
                assert shared.headers["Cache-Control"].startswith("public, max-age=60")
            missing = await gates[0].get(f"/routing/v1/ipns/{there.name}", Via=through)
            assert (missing.status, missing.headers["Cache-Control"]) == (200, "no-store")
            # And is looked for at once where somebody else asks.
            await gates[1].gateway.ipns.put(there.name, there.record().raw)
            assert await self.record(gates[0], there.name) is not None


async def test_no_question_waits_for_a_connection() -> None:
    """Those of two gateways that ask each other might have all of them, and each wait for the other's."""
    at_once = 100
    settings = Settings.from_env({"IPNS_KEY_SECRET": "for tests, and long enough"})
    async with server() as other:
        all_there = asyncio.Event()

        async def answer(_: web.Request) -> web.StreamResponse:
            if len(other.asked) == at_once:
                all_there.set()
            await all_there.wait()
            return web.Response(status=404)

        other.answer = answer
        settings = settings.model_copy(update={"upstream_gateways": (other.url,), "retrieval_timeout": 100.0})
        # Looking for records takes no database.
        async with open_ipns(settings, cast("Pool", None)) as ipns:
            searches = (ipns.names.search(Owner().name) for _ in range(at_once))
            assert await asyncio.gather(*searches) == [None] * at_once


class TestOneGatewayAsksAnother:
    async def test_as_a_router_and_as_a_gateway(self, gate: Running) -> None:
        owner = await known(gate, ttl=120.0)
        async with remote(gate.url) as asked:
            for source in (DelegatedRouter(asked), UpstreamRecords(asked)):
                names = IpnsNames(MemoryRecords(), RecordSearch([[source]]))
                async with running(ipns=names, names=names) as other:
                    answer = await other.get(f"/ipns/{owner.name}")
                    assert (answer.status, max_age(answer)) == (200, 120)
                    assert (await other.get(f"/ipns/{Owner().name}")).status == 502

    async def test_what_is_announced_needs_a_key_there(self, gate: Running) -> None:
        owner = Owner()
        async with remote(gate.url) as asked:
            with pytest.raises(RecordsUnavailable, match="answered 401"):
                await DelegatedRouter(asked).announce(owner.name, owner.record())
