"""Adding content and letting it go: the order of steps in which nothing is ever lost."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from ipld import car, dag_pb
from ipld.blocks import MAX_BLOCK_BYTES, Block, BlockReader, Buffer
from ipld.cid import Cid
from ipld.errors import BlockCorrupt, BlockNotFound, MalformedBlock, StoreUnavailable
from ipld.hashes import verify
from ipld.links import block_links, stored
from ipld.unixfs.edit import put_link, remove_link
from ipld.unixfs.node import Link
from ipld.unixfs.profiles import PROFILES, UNIXFS_V1_2025, Profile
from storage.car_import import CarImport, CarTerms
from storage.closures import closure_of, links_of
from storage.drafts import BlockHead, CarDraft, Draft, FileDraft, car_object, file_object
from storage.index import Closure, Committed, Index, Layout, NewObject, NewUpload, UploadGone
from storage.objects import ObjectStore
from storage.refused import CidMismatch as CidMismatch  # noqa: PLC0414 - others know it from here
from storage.tree import Tree, TreeEntry
from storage.twins import check_twin
from storage.uninterrupted import uninterrupted

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose upload it is, what it is called, and the profile that decides its CID."""

    owner: UUID
    name: str
    profile: Profile = UNIXFS_V1_2025


@dataclass(frozen=True, slots=True)
class Added:
    """What is now kept. `size` is that of the file, or of all blocks of a directory, or of the CAR.

    `more` are the other roots of a CAR.
    """

    cid: Cid
    size: int
    name: str
    profile: str | None
    is_directory: bool = False
    more: Sequence[Cid] = ()


class Content:
    """Objects and their index as one thing.

    Every addition goes: the object is durable in the store, then the index and the owner in one
    transaction, then the caller is told. A crash in between leaves an object to which nothing
    points, under a key that the index knows as unsettled; `sweep` removes it.
    """

    def __init__(self, objects: ObjectStore, index: Index, blocks: BlockReader) -> None:
        self._objects = objects
        self._index = index
        self._blocks = blocks

    async def add_file(self, source: AsyncIterable[Buffer], owned: Owned) -> Added:
        """A single file, stored as its own bytes."""
        async with self._draft(f"files/{owned.profile.name}") as draft:
            new, _ = await file_object(draft, source, owned.profile)
            return await self._commit([new], owned)

    async def add_exactly(self, cid: Cid, source: AsyncIterable[Buffer], owned: Owned) -> Added:
        """The file or the raw block that has this CID; CidMismatch where the body is neither."""
        head = BlockHead()
        try:
            return await self._add_file_exactly(cid, head, source, owned)
        except CidMismatch:
            return await self.add_block(cid, head.data, owned)

    async def _add_file_exactly(
        self, cid: Cid, head: BlockHead, source: AsyncIterable[Buffer], owned: Owned
    ) -> Added:
        async with self._draft(f"files/{cid.to_v1()}") as draft:
            file = FileDraft(draft.writer, list(PROFILES.values()))
            async with aclosing(head.watch(source)) as watched:
                await file.fill(watched)
            for profile, built, rows in await file.finish():
                # The codec counts too: the bytes of a block that has links are no file.
                if built.root.to_v1() == cid.to_v1():
                    await draft.writer.commit(b"")
                    new = NewObject(draft.key, Layout.FILE, cid, file.size, rows, profile.name)
                    return await self._commit([new], replace(owned, profile=profile))
            raise CidMismatch(f"the body does not hash to {cid} in either profile")

    async def add_raw(self, source: AsyncIterable[Buffer], codec: int, owned: Owned) -> Added:
        """One block of that codec, named by its sha2-256; MalformedBlock where it is too large."""
        head = BlockHead()
        async with aclosing(head.watch(source)) as watched:
            async for _ in watched:
                if head.is_too_large:
                    raise MalformedBlock(f"a block has at most {MAX_BLOCK_BYTES} bytes")
        data = head.data or b""
        return await self.add_block(Cid.of(data, codec), data, owned)

    async def add_block(self, cid: Cid, data: bytes | None, owned: Owned) -> Added:
        """One block, checked against its CID."""
        if data is None:
            raise CidMismatch(
                f"the body is not {cid}, and larger than a block may be ({MAX_BLOCK_BYTES} bytes)"
            )
        try:
            await asyncio.to_thread(verify, cid, data)
        except BlockCorrupt as error:
            raise CidMismatch(
                f"the body does not hash to {cid} in either profile, nor as one block"
            ) from error
        if cid.is_identity:
            return Added(cid, len(data), owned.name, None)
        linked = await self._linked(cid, data)
        head = car.header([cid])
        async with self._draft("cars", len(head)) as draft:
            blocks = CarDraft(draft.writer, len(head))
            await blocks.add(cid, data)
            new = await car_object(draft, blocks, cid, head)
            new = replace(new, needs=linked.objects, partial=not linked.complete)
            return await self._commit([new], owned, size=len(data))

    async def _linked(self, cid: Cid, data: bytes) -> Closure:
        links = await asyncio.to_thread(block_links, cid, data)
        if links is None:
            return Closure(complete=False)
        return await closure_of(self._index, {link.multihash for link in stored(links)})

    async def add_tree(
        self, entries: AsyncIterator[TreeEntry], owned: Owned, *, lone_file: bool = False
    ) -> Added:
        """A directory of all entries. With `lone_file` a single file is not put into a directory.

        The first file becomes an object of its own, because only the end of the stream tells
        whether it is alone; the directory then needs that object.
        """
        async with AsyncExitStack() as stack:
            tree = Tree(owned.profile)
            first: NewObject | None = None
            async for entry in entries:
                if lone_file and first is None and not tree.paths and entry.source is not None:
                    draft = await stack.enter_async_context(self._draft(f"files/{owned.profile.name}"))
                    first, tsize = await file_object(draft, entry.source, owned.profile)
                    tree.put(entry.path, Link("", first.root, tsize))
                    continue
                if tree.draft is None:
                    tree.begin(await stack.enter_async_context(self._draft("cars", tree.head_size)))
                await tree.add(entry)
            if first is not None and tree.draft is None:
                return await self._commit([first], replace(owned, name=owned.name or next(iter(tree.paths))))
            if tree.draft is None:
                tree.begin(await stack.enter_async_context(self._draft("cars", tree.head_size)))
            link, new = await tree.finish()
            added = await self._commit([new] if first is None else [first, new], owned, size=link.tsize)
            return replace(added, is_directory=True)

    async def add_car(self, source: AsyncIterable[Buffer], owned: Owned, terms: CarTerms) -> Added:
        """A CAR of any version, as it comes; each of its roots is then kept, and let go, by itself."""
        async with AsyncExitStack() as stack:

            async def begin(head_size: int) -> Draft:
                return await stack.enter_async_context(self._draft("imports", head_size))

            taken = await CarImport(terms, begin).take(source, self._index)
            added = await self._commit([taken.new], owned, roots=taken.roots)
            return replace(added, profile=None)

    async def put(
        self, root: Cid, segments: Sequence[str], source: AsyncIterable[Buffer], owned: Owned
    ) -> Added:
        """`root` with the body as a file at that path."""
        await self._is_kept_whole(root)  # Refuses before the body is taken.
        async with self._draft(f"files/{owned.profile.name}") as draft:
            file, tsize = await file_object(draft, source, owned.profile)
            link = Link("", file.root, tsize)
            is_complete = await self._is_kept_whole(root)
            blocks = await put_link(self._blocks, root, segments, link, owned.profile)
            return await self._commit_edit([file], blocks, is_complete, owned)

    async def remove(self, root: Cid, segments: Sequence[str], owned: Owned) -> Added:
        """`root` without the entry at that path; NoLink where there is none."""
        is_complete = await self._is_kept_whole(root)
        blocks = await remove_link(self._blocks, root, segments, owned.profile)
        return await self._commit_edit([], blocks, is_complete, owned)

    async def _is_kept_whole(self, root: Cid) -> bool:
        """Whether all that is under the root is here; BlockNotFound where the root itself is not."""
        if root.is_identity:
            return True
        await self._blocks.get(root)
        kept = await self._index.closure([root.multihash])
        if not kept.objects:
            # A cache may still have had it: the new root would rest on what nobody keeps.
            raise BlockNotFound(f"{root} is not kept here")
        return kept.complete

    async def _commit_edit(
        self, before: list[NewObject], blocks: Sequence[Block], is_complete: bool, owned: Owned
    ) -> Added:
        # What the new root shares with the old one is kept, and no more: what was replaced can go.
        made = {block.cid.multihash for block in blocks} | {
            row.multihash for new in before for row in new.rows
        }
        kept = await closure_of(self._index, links_of(blocks) - made)
        if is_complete and not kept.complete:
            raise UploadGone("content that the upload builds on was deleted meanwhile")
        root = blocks[-1].cid
        head = car.header([root])
        async with self._draft("cars", len(head)) as draft:
            directories = CarDraft(draft.writer, len(head))
            await directories.add_all(blocks)
            new = await car_object(draft, directories, root, head)
            new = replace(new, needs=kept.objects, partial=not kept.complete)
            added = await self._commit([*before, new], owned, size=_tree_size(blocks[-1]))
            return replace(added, is_directory=True)

    async def release(self, owner: UUID, root: Cid) -> bool:
        """The owner no longer keeps the root; False where it did not. What nobody keeps goes."""
        return await uninterrupted(self._release(owner, root))

    async def _release(self, owner: UUID, root: Cid) -> bool:
        released = await self._index.release(owner, root)
        for key in released.keys:
            await self._discard(key)
        return released.found

    async def sweep(self, older_than: float) -> int:
        """Remove objects of uploads that never finished, and deletions that were cut short."""
        swept = 0
        for key in await self._index.unsettled(older_than):
            if await self._index.abandon(key):
                await self._discard(key)
                swept += 1
        return swept

    @asynccontextmanager
    async def _draft(self, kind: str, head_size: int = 0) -> AsyncGenerator[Draft, None]:
        name = uuid.uuid4().hex
        key = f"{kind}/{name[:2]}/{name}"
        try:
            await self._index.begin(key)
            async with self._objects.create(key, head_size) as writer:
                yield Draft(key, writer)
        except BaseException:
            await uninterrupted(self._give_up(key))
            raise

    async def _give_up(self, key: str) -> None:
        try:
            # Swept already, and perhaps written after that: then nothing else would ever remove it.
            if await self._index.abandon(key) or not await self._index.known([key]):
                await self._discard(key)
        except StoreUnavailable:
            logger.warning("an upload that failed left %s to the next sweep", key)

    async def _discard(self, key: str) -> None:
        """Delete an object that the index no longer points to; the sweep tries again."""
        try:
            await self._objects.delete(key)
            await self._index.settle(key)
        except StoreUnavailable as error:
            logger.warning("%s could not be deleted, the next sweep will: %s", key, error)

    async def _commit(
        self, objects: Sequence[NewObject], owned: Owned, size: int | None = None, roots: Sequence[Cid] = ()
    ) -> Added:
        for known in objects:
            await check_twin(self._objects, self._index, known.root)
        new = objects[-1]
        # Names come from clients, and Postgres takes neither NUL nor half a surrogate pair.
        name = owned.name.encode("utf-8", "replace").decode().replace("\0", "?")
        root, *more = roots or [new.root]
        upload = NewUpload(owned.owner, root, name, new.size if size is None else size)
        uploads = [upload, *(replace(upload, root=other) for other in more)]
        # Once begun it must not be torn by a client that leaves: it happens or it does not.
        await uninterrupted(self._commit_and_clean(objects, uploads))
        return Added(root, upload.size, name, new.profile or owned.profile.name, more=more)

    async def _commit_and_clean(self, objects: Sequence[NewObject], uploads: list[NewUpload]) -> Committed:
        committed = await self._index.commit(objects, *uploads)
        for key in committed.surplus:
            await self._discard(key)
        return committed


def _tree_size(root: Block) -> int:
    """The bytes of all blocks below a directory, as its links tell."""
    return len(root.data) + sum(link.tsize or 0 for link in dag_pb.decode(root.data).links)
