"""Small websites for tests, and requests for them as they come on a host of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.formats import REPRESENT
from gateway.hosts import Kind, Origin
from gateway.negotiation import negotiate
from gateway.representation import Representation
from gateway.request import ContentRequest, parse_parameters
from gateway.sites.files import SiteFiles
from gateway.sites.site import site_fallback, with_site_headers
from ipld.blocks import Block
from ipld.cid import Cid
from ipld.errors import NameNotFound, NoLink
from ipld.names import ResolvedName
from ipld.paths import DEFAULT_LIMITS, ContentPath, resolve
from ipld.unixfs.directory import Built, build_tree
from ipld.unixfs.profiles import UNIXFS_V1_2025, Profile
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import blocks_of


class Counted(MemoryBlocks):
    """Blocks that count how often they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def get(self, cid: Cid) -> bytes:
        self.asked += 1
        return await super().get(cid)

    def forget(self, cid: Cid) -> Block:
        return Block(cid, self._data.pop(cid.multihash))


@dataclass
class Names:
    """A NameResolver that knows what it was told."""

    known: dict[str, ResolvedName] = field(default_factory=dict)

    async def resolve(self, name: str) -> ResolvedName:
        if name not in self.known:
            raise NameNotFound(name)
        return self.known[name]


def build_site(
    blocks: MemoryBlocks, files: Mapping[str, bytes | str], profile: Profile = UNIXFS_V1_2025
) -> Built:
    links = {}
    for name, data in files.items():
        link, made = blocks_of(data if isinstance(data, bytes) else data.encode(), profile)
        blocks.put_all(made)
        links[name] = link
    built = build_tree(links, profile)
    blocks.put_all(built.blocks)
    return built


@dataclass
class Site:
    """A website on a host of its own, asked in the order in which the gateway asks."""

    prefix: str
    blocks: Counted
    names: Names = field(default_factory=Names)
    files: SiteFiles = field(default_factory=SiteFiles)

    @classmethod
    def of(cls, files: Mapping[str, bytes | str], profile: Profile = UNIXFS_V1_2025) -> Site:
        blocks = Counted()
        return cls(f"/ipfs/{build_site(blocks, files, profile).root.cid}", blocks)

    def named(self, name: str, ttl: int | None, below: str = "") -> Site:
        """The same content behind a name."""
        self.names.known[name] = ResolvedName(ContentPath.parse(self.prefix + below), ttl)
        return replace(self, prefix=f"/ipns/{name}")

    @property
    def root(self) -> Cid:
        return ContentPath.parse(self.prefix).cid

    async def cid_of(self, path: str) -> Cid:
        return (await resolve(self.names, self.blocks, ContentPath.parse(self.prefix + path))).cid

    def request(self, target: str, accept: str | None = None, *, isolated: bool = True) -> ContentRequest:
        raw_path, _, query = target.partition("?")
        path = ContentPath.parse(self.prefix + raw_path)
        origin = Origin(Kind.SUBDOMAIN, "host.example", namespace=path.namespace, root=path.root)
        asked = parse_parameters(query)
        return ContentRequest(
            path,
            negotiate(asked.get("format"), accept),
            raw_path,
            query,
            filename=asked.get("filename"),
            download=asked.get("download") == "true",
            origin=origin if isolated else Origin(Kind.PATH),
        )

    async def ask(self, target: str, accept: str | None = None, *, isolated: bool = True) -> Representation:
        """Raises NoLink where the site says nothing about what it does not have."""
        wanted = self.request(target, accept, isolated=isolated)
        try:
            found = await resolve(self.names, self.blocks, wanted.path)
        except NoLink:
            shown = await site_fallback(self.files, self.names, self.blocks, wanted, DEFAULT_LIMITS)
            if shown is None:
                raise
            return shown
        shown = await REPRESENT[wanted.format](self.blocks, wanted, found)
        return await with_site_headers(self.files, self.blocks, wanted, found, shown)
