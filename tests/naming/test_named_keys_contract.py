"""What every store of named keys promises."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from naming.named_keys import InvalidLabel, KeyTaken, KeyUnknown, NamedKey, NamedKeys, check_label
from tests.naming.ipns_records import Owner

SOMEBODY = UUID(int=7)

SOME_KEY = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"


def key(label: str, owner: UUID = SOMEBODY) -> NamedKey:
    return NamedKey(label, Owner().name, owner, b"sealed")


async def test_what_was_added_is_found(named_keys: NamedKeys) -> None:
    blog, api = key("blog"), key("api", uuid4())
    await named_keys.add(blog)
    await named_keys.add(api)
    assert await named_keys.get("blog") == blog
    assert await named_keys.by_name(api.name) == api
    assert await named_keys.get("none") is None
    assert await named_keys.by_name(Owner().name) is None
    assert list(await named_keys.list()) == [api, blog]
    assert "sealed" not in repr(blog)


async def test_labels_and_names_are_taken_once(named_keys: NamedKeys) -> None:
    blog = key("blog")
    await named_keys.add(blog)
    with pytest.raises(KeyTaken, match="blog"):
        await named_keys.add(key("blog"))
    with pytest.raises(KeyTaken):
        await named_keys.add(NamedKey("other", blog.name, SOMEBODY, b""))
    done = await asyncio.gather(*(named_keys.add(key("race")) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(result, KeyTaken) for result in done) == 3


async def test_a_key_can_be_given_away(named_keys: NamedKeys) -> None:
    await named_keys.add(key("blog"))
    other = uuid4()
    await named_keys.give("blog", other)
    found = await named_keys.get("blog")
    assert found is not None
    assert found.owner == other
    with pytest.raises(KeyUnknown):
        await named_keys.give("none", other)


async def test_of_several_gateways_one_claims(named_keys: NamedKeys) -> None:
    await named_keys.add(key("blog"))
    await named_keys.published("blog", 3600.0)
    found = await named_keys.get("blog")
    assert found is not None
    assert found.lifetime == 3600.0
    assert not await named_keys.claim("blog", 60.0)
    assert not await named_keys.claim("none", 0.0)
    await asyncio.sleep(1.1)
    claims = await asyncio.gather(*(named_keys.claim("blog", 1.0) for _ in range(4)))
    assert sorted(claims) == [False, False, False, True]


@pytest.mark.parametrize("label", ["blog", "a", "my-site_2", "0" * 63])
def test_labels(label: str) -> None:
    assert check_label(label) == label


@pytest.mark.parametrize("label", ["", "-a", "a-", "a.b", "a/b", "A", "ä", "a b", "0" * 64, "x\n", SOME_KEY])
def test_what_is_no_label(label: str) -> None:
    with pytest.raises(InvalidLabel, match="cannot name a key"):
        check_label(label)
