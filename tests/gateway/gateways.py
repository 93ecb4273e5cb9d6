"""What end-to-end tests share: a whole gateway in memory, answering on a real socket."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
from yarl import URL

from auth.keys import ApiKey, KeyRequest, Scope
from auth.memory import MemoryKeys
from cache.blocks import CachedBlocks
from cache.memory import MemoryCache
from gateway import listen
from gateway.access_log import AccessLog
from gateway.answers import Answers
from gateway.context import Gateway, Limits
from gateway.metrics import Metrics
from gateway.server import serving
from gateway.sites.files import SiteFiles
from gateway.traffic import Traffic
from ipld.blocks import Block
from naming.ipns import IpnsNames
from naming.key_ring import KeyRing
from naming.memory_named_keys import MemoryNamedKeys
from naming.memory_records import MemoryRecords
from naming.publisher import Publisher
from naming.secret_box import SecretBox
from storage.content import Content
from storage.memory_files import MemoryFiles
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.packed import PackedBlocks
from storage.upload_log import MemoryUploadLog

MIB = 1024 * 1024
SECONDS = 60.0
VARYING = ("date", "x-request-id")


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def cid(self) -> str:
        assert self.status == 201, self
        return str(self.json["cid"])

    @property
    def reason(self) -> str:
        error = self.json["error"]
        assert isinstance(error, dict)
        assert set(error) == {"reason", "details"}
        assert error["details"]
        return str(error["reason"])

    def comparable(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """All but what differs from one answer to the next."""
        kept = sorted((name.lower(), value) for name, value in self.headers.items())
        return self.status, [item for item in kept if item[0] not in VARYING], self.body


def form_of(files: Iterable[tuple[str, bytes]], end: bytes = b"--B--\r\n") -> tuple[bytes, str]:
    """A form as curl writes it, and its Content-Type."""
    body = b""
    for name, data in files:
        head = f'--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        body += head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n"
    return body + end, "multipart/form-data; boundary=B"


@dataclass
class Running:
    """A gateway that answers, and its insides."""

    gateway: Gateway
    objects: MemoryObjects
    index: MemoryIndex
    keys: MemoryKeys
    port: int
    session: aiohttp.ClientSession
    key: str
    owner: ApiKey
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, data: object = None
    ) -> Answer:
        """The target goes out as it is; redirects are not followed."""
        if isinstance(data, bytes) and len(data) >= MIB:
            data = io.BytesIO(data)
        async with self.session.request(
            method,
            URL(self.url + target, encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(SECONDS),
        ) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.ask("GET", target, {name.replace("_", "-"): text for name, text in headers.items()})

    async def write(self, method: str, target: str, data: object = b"", **headers: str) -> Answer:
        """With the key."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.ask(method, target, {**self.auth, **named}, data)

    async def put(self, name: str, data: bytes, query: str = "") -> str:
        return (await self.write("PUT", f"/ipfs/{name}{query}", data)).cid

    async def post_form(self, files: Iterable[tuple[str, bytes]], query: str = "") -> Answer:
        body, kind = form_of(files)
        return await self.write("POST", f"/ipfs/{query}", body, Content_Type=kind)

    async def add_blocks(self, *blocks: Block) -> None:
        """Blocks of any make, through the storage itself."""
        from storage.content import Owned

        for block in blocks:
            await self.gateway.content.add_block(block.cid, block.data, Owned(self.owner.id, ""))

    async def raw(self, request: bytes, seconds: float = SECONDS) -> bytes:
        """What comes back on a connection of its own, until the server closes it."""
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(request)
                return await reader.read()
            finally:
                writer.close()

    async def nothing_stored(self) -> bool:
        """Neither an object nor a trace of one, as soon as what was given up is cleaned up."""
        for _ in range(200):
            if (
                not self.objects.data
                and not await self.index.unsettled(0)
                and not self.gateway.traffic.uploads
            ):
                return True
            await asyncio.sleep(0.02)
        return False


def make_gateway(
    limits: Limits | None = None, **changed: object
) -> tuple[Gateway, MemoryObjects, MemoryIndex]:
    limits = limits or Limits()
    objects, index, keys = MemoryObjects(), MemoryIndex(), MemoryKeys()
    packed = PackedBlocks(objects, index)
    blocks = CachedBlocks(packed, MemoryCache(8 * MIB))
    answers = Answers(8 * MIB)

    async def forget() -> None:
        answers.clear()
        blocks.forget(0)
        packed.forget()
        sites.clear()

    sites = SiteFiles()
    ipns = IpnsNames(MemoryRecords(), listeners=[lambda _: answers.renamed()])
    gateway = Gateway(
        blocks=blocks,
        names=ipns,
        ipns=ipns,
        publisher=Publisher(KeyRing(MemoryNamedKeys(), SecretBox("for tests, and long enough")), ipns),
        content=Content(objects, index, blocks),
        files=MemoryFiles(index),
        log=MemoryUploadLog(),
        keys=keys,
        answers=answers,
        sites=sites,
        metrics=Metrics("test"),
        traffic=Traffic(limits.requests, limits.uploads),
        forget=forget,
        limits=limits,
    )
    return replace(gateway, **changed), objects, index  # type: ignore[arg-type]


@asynccontextmanager
async def running(limits: Limits | None = None, **changed: object) -> AsyncIterator[Running]:
    gateway, objects, index = make_gateway(limits, **changed)
    keys = gateway.keys
    assert isinstance(keys, MemoryKeys)
    new = await keys.create(KeyRequest("uploader", frozenset({Scope.READ, Scope.UPLOAD, Scope.DELETE})))
    log = io.StringIO()
    with listen.bind("127.0.0.1", 0) as bound:
        async with (
            AccessLog(log) as access_log,
            serving(gateway, bound, access_log),
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            port = bound.getsockname()[1]
            yield Running(gateway, objects, index, keys, port, session, new.secret, new.key, log)
