"""Building directories, symlinks and whole trees of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import DAG_PB, Cid
from ipld.errors import InvalidPath
from ipld.unixfs.hamt import build_hamt
from ipld.unixfs.node import NO_METADATA, Kind, Link, Metadata, encode_data
from ipld.unixfs.profiles import Estimate, Profile

MAX_NAME_BYTES = 255 * 4
MAX_TREE_DEPTH = 256


@dataclass(frozen=True, slots=True)
class Built:
    """A DAG: its blocks, root last, and the link that a parent has to it (the name still empty)."""

    root: Link
    blocks: list[Block]


def build_directory(entries: Iterable[Link], profile: Profile) -> list[Block]:
    """The blocks of one directory, root last; InvalidPath for names that no path can mean."""
    return list(built_directory(entries, profile).blocks)


def directory_link(name: str, entries: Iterable[Link], blocks: Iterable[Block]) -> Link:
    """The link to the directory that `build_directory` made: its Tsize is all that lies below."""
    made = list(blocks)
    tsize = sum(len(block.data) for block in made) + sum(entry.tsize for entry in entries)
    return Link(name, made[-1].cid, tsize)


def built_directory(entries: Iterable[Link], profile: Profile, metadata: Metadata = NO_METADATA) -> Built:
    """As `build_directory`, with the link that a parent needs."""
    links = _sorted(entries)
    data = encode_data(Kind.DIRECTORY) + metadata.encode(Kind.DIRECTORY)
    if _estimate(links, data, profile) > profile.shard_threshold:
        blocks = build_hamt((link for _, link in links), profile, metadata)
    else:
        pb_links = [dag_pb.PBLink(link.cid, link.name, link.tsize) for _, link in links]
        blocks = [_block(dag_pb.encode(pb_links, data), profile)]
    return Built(directory_link("", (link for _, link in links), blocks), blocks)


def _sorted(entries: Iterable[Link]) -> list[tuple[bytes, Link]]:
    # dag-pb spec, "Canonical DAG-PB": links are sorted by the bytes of their names.
    given = list(entries)
    links = {_checked_name(link.name): link for link in given}
    if len(links) != len(given):
        raise InvalidPath("a directory cannot have two entries of the same name")
    return sorted(links.items())


def _checked_name(name: str) -> bytes:
    encoded = dag_pb.name_bytes(name)
    if not encoded or b"/" in encoded or b"\0" in encoded or name in (".", ".."):
        raise InvalidPath(f"not a name for a directory entry: {name!r}")
    if len(encoded) > MAX_NAME_BYTES:
        raise InvalidPath(f"name of {len(encoded)} bytes, limit {MAX_NAME_BYTES}")
    return encoded


def _estimate(links: list[tuple[bytes, Link]], data: bytes, profile: Profile) -> int:
    if profile.estimate is Estimate.LINKS_BYTES:
        return sum(len(name) + len(link.cid.raw) for name, link in links)
    return 2 + len(data) + sum(dag_pb.link_size(name, link.cid, link.tsize) for name, link in links)


def build_symlink(target: str, profile: Profile, metadata: Metadata = NO_METADATA) -> Block:
    data = encode_data(Kind.SYMLINK, dag_pb.name_bytes(target)) + metadata.encode(Kind.SYMLINK)
    return _block(dag_pb.encode((), data), profile)


def _block(data: bytes, profile: Profile) -> Block:
    return Block(Cid.of(data, DAG_PB, profile.cid_version), data)


@dataclass(slots=True)
class _Folder:
    metadata: Metadata = NO_METADATA
    entries: dict[str, Link] = field(default_factory=dict)
    folders: dict[str, _Folder] = field(default_factory=dict)


def build_tree(
    files: Mapping[str, Link | None], profile: Profile, metadata: Mapping[str, Metadata] | None = None
) -> Built:
    """Nested directories from `/`-separated paths; None stands for a directory, perhaps an empty one.

    The name inside each Link is not looked at: the path names the entry. `metadata` is that of directories
    among the paths, and of the root, whose path is empty.
    """
    known = metadata or {}
    top = _Folder(known.get("", NO_METADATA))
    for path, link in files.items():
        folder = _insert(top, [segment for segment in path.split("/") if segment], link)
        folder.metadata = known.get(path, NO_METADATA) if link is None else folder.metadata
    blocks: list[Block] = []
    root = _build_folder(top, profile, blocks)
    return Built(root, blocks)


def _insert(folder: _Folder, segments: list[str], link: Link | None) -> _Folder:
    """The folder that the path names, or that holds the entry."""
    if not segments or len(segments) > MAX_TREE_DEPTH:
        raise InvalidPath(f"a path in a tree has 1 to {MAX_TREE_DEPTH} segments")
    *parents, last = segments
    for segment in parents if link is not None else segments:
        if segment in folder.entries:
            raise InvalidPath(f"{segment!r} is a file and a directory")
        folder = folder.folders.setdefault(segment, _Folder())
    if link is None:
        return folder
    if last in folder.folders or last in folder.entries:
        raise InvalidPath(f"{last!r} is there twice")
    folder.entries[last] = Link(last, link.cid, link.tsize)
    return folder


def _build_folder(folder: _Folder, profile: Profile, blocks: list[Block]) -> Link:
    # Recursion is bounded by MAX_TREE_DEPTH.
    entries = list(folder.entries.values())
    for name, child in folder.folders.items():
        entries.append(_build_folder(child, profile, blocks)._replace(name=name))
    built = built_directory(entries, profile, folder.metadata)
    blocks.extend(built.blocks)
    return built.root
