"""What paths were answered with: for ever where they are immutable, briefly where a name leads."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from gateway.answers import BRIEF_SECONDS, Answers, NamesAsked
from gateway.hosts import HostRules, Hosts
from gateway.representation import Representation
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from naming.names import NoNames
from naming.publisher import Terms
from tests.gateway.gateways import running
from tests.naming.ipns_records import Owner

QUESTION = ("/ipns/x", None)
SHOWN = Representation(body=b"x")


@dataclass
class Names:
    """`found` under every name; counts how often it is asked."""

    found: ResolvedName
    asked: list[str] = field(default_factory=list)

    async def resolve(self, name: str) -> ResolvedName:
        self.asked.append(name)
        return self.found


def named(path: str, ttl: int | None, left: float | None = None) -> Names:
    return Names(ResolvedName(ContentPath.parse(path), ttl, None if left is None else time.time() + left))


def test_a_question_has_its_weight() -> None:
    answers = Answers(2**20)
    for number in range(100):
        answers.put((f"/ipfs/{number}", f"x/{number}" + "a" * 30_000), SHOWN, answers.epoch)
    assert answers._kept.bytes <= 2**20
    assert answers.get(("/ipfs/0", "x/0" + "a" * 30_000)) is None


def test_what_is_kept_briefly_ends() -> None:
    answers = Answers(2**20)
    answers.put(QUESTION, SHOWN, answers.epoch, time.monotonic() + 5)
    assert answers.get(QUESTION) is SHOWN
    answers.put(QUESTION, SHOWN, answers.epoch, time.monotonic())
    assert answers.get(QUESTION) is None


def test_a_name_that_leads_elsewhere_ends_what_is_kept_briefly_alone() -> None:
    answers = Answers(2**20)
    answers.put(QUESTION, SHOWN, answers.epoch, time.monotonic() + 5)
    answers.put(("/ipfs/x", None), SHOWN, answers.epoch)
    answers.renamed()
    assert (answers.get(QUESTION), answers.get(("/ipfs/x", None))) == (None, SHOWN)


def test_an_answer_that_was_begun_before_the_name_led_elsewhere_is_not_given() -> None:
    answers = Answers(2**20)
    epoch = answers.epoch
    answers.renamed()
    answers.put(QUESTION, SHOWN, epoch, time.monotonic() + 5)
    assert answers.get(QUESTION) is None


@pytest.mark.parametrize("until", [None, 5.0])
def test_what_was_deleted_is_forgotten_in_any_case(until: float | None) -> None:
    answers = Answers(2**20)
    epoch = answers.epoch
    end = None if until is None else time.monotonic() + until
    answers.put(QUESTION, SHOWN, epoch, end)
    answers.clear()
    assert answers.get(QUESTION) is None
    answers.put(QUESTION, SHOWN, epoch, end)
    assert answers.get(QUESTION) is None


@pytest.mark.parametrize(
    ("ttl", "left", "seconds"),
    [
        (None, None, BRIEF_SECONDS),
        (60, None, BRIEF_SECONDS),
        (60, 60.0, BRIEF_SECONDS),
        (0, None, 0),
        (60, 0.9, 0),
        (60, -5.0, 0),
    ],
)
async def test_names_say_for_how_long(ttl: int | None, left: float | None, seconds: float) -> None:
    names = NamesAsked(named("/ipfs/bafkqaaa", ttl, left))
    assert names.seconds is None
    await names.resolve("a")
    assert names.seconds == seconds
    names.names = named("/ipfs/bafkqaaa", 60)
    await names.resolve("b")
    assert names.seconds == seconds


@pytest.mark.parametrize(("ttl", "asked"), [(60, 1), (0, 3)])
async def test_a_hot_path_behind_a_name_asks_for_the_name_now_and_then(ttl: int, asked: int) -> None:
    names = named("/ipfs/bafkqablimvwgy3y", ttl)
    async with running(names=names) as gate:
        for _ in range(3):
            assert (await gate.get("/ipns/a.example")).body == b"hello"
        assert len(names.asked) == asked
        await asyncio.sleep(BRIEF_SECONDS)
        before = len(names.asked)
        assert (await gate.get("/ipns/a.example")).body == b"hello"
        assert len(names.asked) == before + 1


async def test_both_lanes_give_the_same_behind_a_name() -> None:
    listed = {"gw.example": HostRules(subdomains=True), "listed.example": HostRules()}
    names = named("/ipfs/bafkqablimvwgy3y", 60)
    async with running(names=names, hosts=Hosts(listed, sites=["site.example"])) as gate:
        shown = {
            ("site.example", "/"): "//site.example/",
            ("listed.example", "/"): "//listed.example/",
            ("gw.example", "/"): "//gw.example/",
            ("b.example.ipns.gw.example", "/"): "//b.example.ipns.gw.example/",
            ("listed.example", "/ipns/c.example"): "/ipns/c.example",
            ("x", "/ipns/c.example"): "/ipns/c.example",
        }
        for host, target in shown:
            first = await gate.get(target, Host=host)
            # A credential, even one of another service, leaves the fast lane.
            slow = await gate.get(target, Host=host, Authorization="Basic eDp5")
            asked = len(names.asked)
            fast = await gate.get(target, Host=host)
            # Nobody has to be asked whether the host is that of a website.
            assert (first.status, len(names.asked)) == (200, asked)
            assert first.comparable() == slow.comparable() == fast.comparable()
        await asyncio.sleep(0.3)
        lines = [line.split(" ")[3] for line in gate.log.getvalue().splitlines() if " GET " in line]
    assert lines == [line for line in shown.values() for _ in range(3)]


async def test_both_lanes_write_down_the_same_host() -> None:
    hosts = Hosts({"listed.example": HostRules()})
    async with running(hosts=hosts, names=NoNames()) as gate:
        cid = await gate.put("x", b"x")
        for _ in range(3):
            assert (await gate.get(f"/ipfs/{cid}", Host="listed.example")).status == 200
        await asyncio.sleep(0.3)
        lines = [line.split(" ")[3] for line in gate.log.getvalue().splitlines() if " GET " in line]
    assert lines == [f"/ipfs/{cid}"] * 3


async def test_what_is_published_here_is_shown_at_once() -> None:
    async with running() as gate:
        first, second = await gate.put("a", b"first"), await gate.put("b", b"second")
        publisher = gate.gateway.publisher
        key, _ = await publisher.key_of("blog", gate.owner.id, admin=False)
        for _ in range(3):
            for cid, body in ((first, b"first"), (second, b"second")):
                await publisher.publish(key, cid, Terms(ttl=60))
                for _ in range(2):
                    assert (await gate.get(f"/ipns/{key.name}")).body == body


async def test_records_are_given_as_they_are_now() -> None:
    async with running() as gate:
        owner = Owner()
        for sequence in range(3):
            record = owner.record(sequence)
            # Another gateway put it: this one hears nothing of that.
            await gate.gateway.ipns.store.put(owner.name, record, 1)  # type: ignore[arg-type]
            assert (await gate.get(f"/ipns/{owner.name}?format=ipns-record")).body == record.raw


async def test_who_wants_no_effort_leaves_nothing_for_others() -> None:
    here, elsewhere = named("/ipfs/bafkqablimvwgy3y", 60), named("/ipfs/bafkqablxn5zgyza", 60)
    async with running(names=elsewhere, names_here=here) as gate:
        assert (await gate.get("/ipns/a.example", Cache_Control="only-if-cached")).body == b"hello"
        assert (await gate.get("/ipns/a.example")).body == b"world"
