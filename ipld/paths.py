"""Content paths: reading `/ipfs/<cid>/a/b` and `/ipns/<name>/a/b`, and following them to a CID."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote_to_bytes

from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.dag_pb import name_bytes
from ipld.errors import InvalidCid, InvalidPath, NameRecursion, NoLink
from ipld.names import NameResolver
from ipld.traversal import step

MAX_LENGTH = 16 * 1024
MAX_SEGMENTS = 256

_NAMESPACES = ("ipfs", "ipns")
_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
# RFC 3986, pchar: what a path segment may hold as it is.
_SAFE = "!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class ContentPath:
    """A path as its segments mean it: decoded, without empty ones. A segment may hold a `/`, and bytes that
    are no UTF-8 as surrogates (PEP 383), as names of links do."""

    namespace: str
    root: str
    segments: tuple[str, ...] = ()
    trailing_slash: bool = False

    @classmethod
    def parse(cls, raw: str, max_length: int = MAX_LENGTH, max_segments: int = MAX_SEGMENTS) -> ContentPath:
        """The path that a percent-encoded text means; InvalidPath names the text and the reason."""
        try:
            return _parse(raw, max_length, max_segments)
        except ValueError as error:
            raise InvalidPath(f"invalid path {_quoted(raw)}: {error}") from error

    @property
    def cid(self) -> Cid:
        """The root of an `/ipfs/` path; InvalidCid for a name."""
        return Cid.parse(self.root)

    @property
    def mutable(self) -> bool:
        return self.namespace != "ipfs"

    def __truediv__(self, segment: str) -> ContentPath:
        return replace(self, segments=(*self.segments, segment), trailing_slash=False)

    def __str__(self) -> str:
        return "/".join(("", self.namespace, self.root, *self.segments)) + "/" * self.trailing_slash

    def encoded(self) -> str:
        """The path as it stands in a URL, hex digits in upper case."""
        parts = (quote(name_bytes(part), _SAFE) for part in (self.root, *self.segments))
        return f"/{self.namespace}/{'/'.join(parts)}" + "/" * self.trailing_slash


def _parse(raw: str, max_length: int, max_segments: int) -> ContentPath:
    if len(raw) > max_length:
        raise ValueError(f"longer than {max_length} characters")
    parts = [part for part in raw.split("/") if part]
    if not raw.startswith("/") or not parts or parts[0] not in _NAMESPACES:
        raise ValueError("a content path begins with /ipfs/ or /ipns/")
    if len(parts) < 2:
        raise ValueError("the path ends before the CID or name")
    if len(parts) - 2 > max_segments:
        raise ValueError(f"more than {max_segments} segments")
    namespace, root, *segments = map(_decoded, parts)
    if namespace == "ipfs":
        Cid.parse(root)
    elif "/" in root:
        raise ValueError("a name has no slash")
    return ContentPath(namespace, root, tuple(segments), raw.endswith("/"))


def _decoded(part: str) -> str:
    # Once only: `%2541` is the name `%41`.
    if _BAD_PERCENT.search(part):
        raise ValueError(f"invalid URL escape in {_quoted(part)}")
    try:
        text = unquote_to_bytes(part).decode("utf-8", "surrogateescape")
    except UnicodeError as error:
        raise ValueError(f"not UTF-8: {_quoted(part)}") from error
    if "\0" in text:
        raise ValueError("a name has no NUL")
    return text


def _quoted(text: str) -> str:
    """Safe to show: control characters, quotes and lone surrogates are escaped, the end is cut."""
    cut = text if len(text) <= 512 else text[:512] + "…"
    return json.dumps(cut.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class ResolveLimits:
    """`names` is how many names may point to each other; Kubo follows 32."""

    names: int = 32
    segments: int = MAX_SEGMENTS


DEFAULT_LIMITS = ResolveLimits()


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads. The block of `cid` itself was not fetched, unless it is in `trail`.

    `path` begins with /ipfs/. `roots` has one CID for the root and for each segment followed, `cid`
    last. `trail` has every block that was fetched. `remainder` is what leads to a place inside the
    block of `cid` that is no link (dag-cbor, dag-json, json), or into a codec that we cannot follow.
    `ttl` is the shortest of the names on the way, in seconds.
    """

    path: ContentPath
    cid: Cid
    roots: tuple[Cid, ...]
    trail: tuple[Cid, ...]
    remainder: tuple[str, ...]
    mutable: bool
    ttl: int | None


async def resolve(
    names: NameResolver, blocks: BlockReader, path: ContentPath, limits: ResolveLimits = DEFAULT_LIMITS
) -> Found:
    """Follow names, then links.

    Raises NoLink, NameNotFound, NameRecursion, InvalidPath, MalformedBlock and what the two raise.
    """
    fixed, ttl = await resolve_names(names, path, limits)
    if len(fixed.segments) > limits.segments:
        raise InvalidPath(f"invalid path {_quoted(str(path))}: more than {limits.segments} segments")
    walked = await _walk(blocks, fixed)
    return replace(walked, mutable=path.mutable, ttl=ttl)


async def resolve_names(
    names: NameResolver, path: ContentPath, limits: ResolveLimits = DEFAULT_LIMITS
) -> tuple[ContentPath, int | None]:
    """The /ipfs/ path behind a path, and for how many seconds that holds.

    Raises what `names` raises, and NameRecursion (DNSLink gateway spec, `Host`).
    """
    ttls: list[int] = []
    for _ in range(limits.names + 1):
        if not path.mutable:
            return path, min(ttls, default=None)
        found = await names.resolve(path.root)
        fresh = found.fresh_for(time.time())
        if fresh is not None:
            ttls.append(fresh)
        path = replace(
            found.path,
            segments=found.path.segments + path.segments,
            trailing_slash=path.trailing_slash,
        )
    raise NameRecursion(f"more than {limits.names} names point to each other from {path.root}")


async def _walk(blocks: BlockReader, path: ContentPath) -> Found:
    cid, names = _root_cid(path), path.segments
    roots, trail = [cid], list[Cid]()
    while names:
        try:
            taken = await step(blocks, cid, names)
        except NoLink as error:
            raise NoLink(str(error), (*trail, *error.trail), tuple(roots)) from error
        trail += taken.trail
        if taken.link is None:
            break
        # A name that leads to a place inside the block has the root that the block is.
        roots += [cid] * (taken.used - 1) + [taken.link]
        cid, names = taken.link, names[taken.used :]
    return Found(path, cid, tuple(roots), tuple(trail), names, mutable=False, ttl=None)


def _root_cid(path: ContentPath) -> Cid:
    try:
        return path.cid
    except InvalidCid as error:
        raise InvalidPath(f"invalid path {_quoted(str(path))}: {error}") from error
