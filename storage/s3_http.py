"""Content to and from an S3 server: signed requests over one shared session, streamed both ways."""

from __future__ import annotations

import importlib
import re
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from storage.objects import ObjectNotFound
from storage.resilient import Transient
from storage.s3_account import S3Account, S3Limits
from storage.s3_client import ADDRESS_SECONDS, S3Client
from storage.s3_errors import ERROR_BYTES, StoreRefused, error_of_body

# The addresses of objects that were read of late are kept: making one takes longer than using it.
MAX_ADDRESSES = 4096
# How much of a body may wait in memory for a client that is slower than the store.
_BUFFER_BYTES = 512 * 1024
_PIECE_BYTES = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)


class _Request(Protocol):
    headers: Mapping[str, str]


class Signer:
    """Signs requests with AWS Signature Version 4, the hash of the body included."""

    def __init__(self, account: S3Account) -> None:
        self._account = account
        self._auth = importlib.import_module("botocore.auth")
        credentials = importlib.import_module("botocore.credentials").Credentials
        self._credentials = credentials(account.key_id, account.secret)
        self._request = importlib.import_module("botocore.awsrequest").AWSRequest

    def sign(
        self, method: str, key: str, query: str, headers: Mapping[str, str], sha256: str
    ) -> tuple[URL, dict[str, str]]:
        """The URL and the headers of the request; `query` is encoded already."""
        path = f"{quote(self._account.bucket)}/{quote(key)}"
        url = f"{self._account.endpoint_url.rstrip('/')}/{path}" + (f"?{query}" if query else "")
        request: _Request = self._request(
            method=method, url=url, headers={**headers, "X-Amz-Content-SHA256": sha256}
        )
        self._auth.SigV4Auth(self._credentials, "s3", self._account.region).add_auth(request)
        return URL(url, encoded=True), dict(request.headers)


class OpenBody:
    """A span of an object on its way. `size` is that of the whole object."""

    def __init__(self, response: aiohttp.ClientResponse, size: int) -> None:
        self._response = response
        self.size = size
        self.etag = response.headers["ETag"]

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Whatever has come in, again and again; raises Transient where the body breaks off."""
        try:
            async for piece in self._response.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(f"a body broke off ({type(error).__name__})") from error

    def close(self) -> None:
        """Give the connection back, or close it where not all was read."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class S3Http:
    """Raises what S3Client raises. Every request is made once."""

    def __init__(
        self, session: aiohttp.ClientSession, signer: Signer, client: S3Client, connect_timeout: float
    ) -> None:
        self._session = session
        self._connect_timeout = connect_timeout
        self._signer = signer
        self._client = client
        self._addresses: OrderedDict[str, tuple[URL, float]] = OrderedDict()

    async def put(
        self, key: str, query: str, body: bytearray, sha256: str, metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Store an object, or a part of one; the headers of the answer."""
        named = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        length = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        url, headers = self._signer.sign("PUT", key, query, {**named, **length}, sha256)
        with _broken_said():
            async with self._session.put(
                url,
                headers=headers,
                data=_pieces(body) if body else None,
                allow_redirects=False,
                # The session's is for silence, and a server is silent while it takes a body. How long a
                # body may take as a whole, the caller says.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            ) as response:
                if response.status != 200 or "ETag" not in response.headers:
                    raise await _error(key, response)
                return response.headers.copy()

    async def get(self, key: str, start: int, stop: int, etag: str | None = None) -> OpenBody:
        """The bytes `start` up to `stop`, which are at least one; only of the object with that ETag.

        Raises ObjectNotFound where the object is shorter.
        """
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if etag is not None:
            headers["If-Match"] = etag
        with _broken_said():
            url = await self._address(key)
            response = await self._session.get(url, headers=headers, allow_redirects=False)
            try:
                if response.status not in (200, 206) or "ETag" not in response.headers:
                    raise await _error(key, response)
                return OpenBody(response, _size_of(key, response, start, stop))
            except BaseException:
                response.close()
                raise

    async def read(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        """A small span as a whole, and the size of the object."""
        body = await self.get(key, start, stop)
        try:
            data = bytearray()
            async for piece in body.pieces():
                data += piece
                if len(data) >= stop - start:
                    break
            if len(data) < stop - start:
                raise Transient("a body was cut short")
            return bytes(data[: stop - start]), body.size
        finally:
            body.close()

    async def _address(self, key: str) -> URL:
        known = self._addresses.get(key)
        now = time.monotonic()
        if known is not None and now < known[1]:
            self._addresses.move_to_end(key)
            return known[0]
        url = URL(await self._client.address(key), encoded=True)
        self._addresses[key] = (url, now + ADDRESS_SECONDS / 2)
        self._addresses.move_to_end(key)
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        return url


@asynccontextmanager
async def open_http(account: S3Account, limits: S3Limits, client: S3Client) -> AsyncGenerator[S3Http, None]:
    """One session for the process, closed when the block is left."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_timeout, sock_read=limits.timeout)
    # Without a limit of its own: a client that reads slowly keeps its connection to the store, and
    # must not keep others from theirs. How many requests there are at once is bounded elsewhere.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_BUFFER_BYTES,
        headers={"Accept-Encoding": "identity", "User-Agent": "cidgate"},
    ) as session:
        yield S3Http(session, Signer(account), client, limits.connect_timeout)


def _size_of(key: str, response: aiohttp.ClientResponse, start: int, stop: int) -> int:
    """The size of the whole object; ObjectNotFound where it ends before `stop` (RFC 9110 section 14.4)."""
    if response.status == 200:
        if start > 0 or response.content_length is None:
            raise StoreRefused("the object store does not know ranges")
        size = response.content_length
    else:
        given = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if given is None or int(given[1]) != start:
            raise Transient("the object store sent another range than the one asked for")
        size = int(given[3])
    if size < stop:
        raise ObjectNotFound(f"{key} ends at byte {size}, {stop} were expected")
    return size


async def _pieces(body: bytearray) -> AsyncGenerator[memoryview, None]:
    view = memoryview(body)
    for at in range(0, len(view), _PIECE_BYTES):
        yield view[at : at + _PIECE_BYTES]


async def _error(key: str, response: aiohttp.ClientResponse) -> Exception:
    body = await response.content.read(ERROR_BYTES)
    return error_of_body(key, response.status, response.headers, body)


@contextmanager
def _broken_said() -> Generator[None, None, None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise Transient(f"the object store cannot be reached ({type(error).__name__})") from error
