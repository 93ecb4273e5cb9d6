"""Putting the blocks of a small CAR into the order of its DAG before they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipld.blocks import Buffer
from ipld.car import CarParser, Section, frame
from ipld.cid import Cid
from ipld.links import block_links
from storage.index import BlockRow, Layout


@dataclass(frozen=True, slots=True)
class Arranged:
    """The sections of a CAR, and a row for each of its blocks."""

    sections: bytes
    rows: list[BlockRow]
    layout: Layout


def arranged(head: bytes, sections: Buffer, rows: Sequence[BlockRow], root: Cid) -> Arranged | None:
    """The same sections, which stand behind that header, depth first from the root.

    None where they are not just the blocks of that DAG. Raises MalformedBlock. Bound by the CPU.
    """
    parser = CarParser()
    there = [*parser.feed(head), *parser.feed(sections)]
    walked, layout = _walk({section.cid: section for section in there}, root)
    if len(walked) != len(there):
        return None
    by_multihash = {row.multihash: row for row in rows}
    ordered: list[BlockRow] = []
    body = bytearray()
    for section in walked:
        body += frame(section.cid, len(section.data))
        row = by_multihash[section.cid.multihash]
        # A row may name less than the block, without its wrapping.
        offset = len(head) + len(body) + row.offset - section.offset
        ordered.append(replace(row, offset=offset))
        body += section.data
    return Arranged(bytes(body), ordered, layout)


def _walk(by_cid: dict[Cid, Section], root: Cid) -> tuple[Sequence[Section], Layout]:
    """Those that the root leads to in their order; none where one is not there, or cannot be read."""
    walked: dict[Cid, Section] = {}
    layout, waiting = Layout.TREE, [root]
    while waiting:
        cid = waiting.pop()
        if cid in walked:
            layout = Layout.DAG
            continue
        section = by_cid.get(cid)
        links = block_links(cid, section.data) if section is not None else None
        if section is None or links is None:
            return (), Layout.CAR
        walked[cid] = section
        waiting.extend(reversed(links))
    return list(walked.values()), layout
