"""Which kind a name is of, and its one form."""

from __future__ import annotations

import pytest

from ipld.cid import Cid
from ipld.errors import NameNotFound
from ipld.ipns_name import IpnsName
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from naming.names import Names, canonical_name, is_key

PEER = "12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK"
KEY = IpnsName.parse(PEER)
PATH = ContentPath("ipfs", "bafkqaaa")


class Asked:
    def __init__(self) -> None:
        self.names: list[str] = []

    async def resolve(self, name: str) -> ResolvedName:
        self.names.append(name)
        return ResolvedName(PATH, 60)


@pytest.mark.parametrize("text", [PEER, str(KEY), KEY.cid.encode("base32"), KEY.cid.encode("base58btc")])
async def test_every_form_of_a_key_goes_to_ipns(text: str) -> None:
    ipns, dnslink = Asked(), Asked()
    await Names(ipns, dnslink).resolve(text)
    assert (ipns.names, dnslink.names) == ([str(KEY)], [])
    assert canonical_name(text) == str(KEY)
    assert is_key(text)


@pytest.mark.parametrize("text", ["Docs.IPFS.tech", "docs.ipfs.tech.", "docs.ipfs.tech"])
async def test_a_domain_goes_to_dnslink(text: str) -> None:
    ipns, dnslink = Asked(), Asked()
    await Names(ipns, dnslink).resolve(text)
    assert (ipns.names, dnslink.names) == ([], ["docs.ipfs.tech"])
    assert not is_key(text)


@pytest.mark.parametrize("text", ["", "a b", "ü" * 300, "a..b", "..", "x" * 20_000, str(Cid.of(b"x")) + "!"])
async def test_anything_else_leads_nowhere(text: str) -> None:
    ipns, dnslink = Asked(), Asked()
    with pytest.raises(NameNotFound, match=r"neither an IPNS name \(.*\) nor a domain name") as raised:
        await Names(ipns, dnslink).resolve(text)
    assert (ipns.names, dnslink.names) == ([], [])
    assert len(str(raised.value)) < 500
