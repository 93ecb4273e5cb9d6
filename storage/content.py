"""Adding content and letting it go: the order of steps in which nothing is ever lost."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from uuid import UUID

from ipld import car
from ipld.blocks import MAX_BLOCK_BYTES, Block, BlockReader, Buffer
from ipld.cid import Cid
from ipld.errors import BlockCorrupt, BlockNotFound, MalformedBlock, StoreUnavailable
from ipld.hashes import verify
from ipld.links import block_links, stored
from ipld.unixfs.edit import put_link, remove_link
from ipld.unixfs.node import Link
from ipld.unixfs.profiles import PROFILES
from storage.car_import import CarImport, CarTerms
from storage.closures import closure_of, links_of
from storage.deletion import Deletion, Later
from storage.drafts import BlockHead, CarDraft, Draft, car_object
from storage.index import Closure, Committed, Index, NewObject, NewUpload, Released, UploadGone
from storage.objects import ObjectStore, ObjectWriter, Receipt
from storage.ownership import Added as Added  # noqa: PLC0414 - others know both from here
from storage.ownership import Owned as Owned  # noqa: PLC0414
from storage.ownership import storable_name
from storage.pinning import keep, tree_size
from storage.refused import CidMismatch as CidMismatch  # noqa: PLC0414 - others know it from here
from storage.s3_errors import StoreRefused
from storage.single_files import SingleFiles, StoredFile
from storage.tree import Tree, TreeEntry
from storage.twins import check_twin
from storage.uninterrupted import uninterrupted


class Content:
    """Objects and their index as one thing.

    Every addition goes: the object is durable in the store, then the index and the owner in one
    transaction, then the caller is told. A crash in between leaves an object to which nothing
    points, under a key that the index knows as unsettled; `sweep` removes it.
    """

    def __init__(
        self,
        objects: ObjectStore,
        index: Index,
        blocks: BlockReader,
        files: SingleFiles | None = None,
        later: Later | None = None,
    ) -> None:
        self._objects = objects
        self._index = index
        self._blocks = blocks
        self._files = files or SingleFiles()
        self._deletion = Deletion(objects, index, later)

    async def add_file(self, source: AsyncIterable[Buffer], owned: Owned) -> Added:
        """A single file."""
        async with self._draft(*self._files.place(owned.profile)) as draft:
            file = await self._files.store(draft, source, owned.profile)
            return await self._commit([file.new], owned, size=file.size)

    async def add_exactly(self, cid: Cid, source: AsyncIterable[Buffer], owned: Owned) -> Added:
        """The file or the raw block that has this CID; CidMismatch where the body is neither."""
        head = BlockHead()
        try:
            async with self._draft(*self._files.place_exactly(cid)) as draft:
                file = await self._files.store_exactly(draft, cid, head.watch(source))
                profile = PROFILES[file.profile]
                return await self._commit([file.new], replace(owned, profile=profile), size=file.size)
        except CidMismatch:
            return await self.add_block(cid, head.data, owned)

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
            first: StoredFile | None = None
            async for entry in entries:
                if lone_file and first is None and not tree.paths and entry.source is not None:
                    draft = await stack.enter_async_context(self._draft(*self._files.place(owned.profile)))
                    first = await self._files.store(draft, entry.source, owned.profile)
                    tree.put(entry.path, Link("", first.new.root, first.tsize))
                    continue
                if tree.draft is None:
                    tree.begin(await stack.enter_async_context(self._draft("cars", tree.head_size)))
                await tree.add(entry)
            if first is not None and tree.draft is None:
                named = replace(owned, name=owned.name or next(iter(tree.paths)))
                return await self._commit([first.new], named, size=first.size)
            if tree.draft is None:
                tree.begin(await stack.enter_async_context(self._draft("cars", tree.head_size)))
            link, new = await tree.finish()
            objects = [new] if first is None else [first.new, new]
            added = await self._commit(objects, owned, size=link.tsize)
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
        async with self._draft(*self._files.place(owned.profile)) as draft:
            file = await self._files.store(draft, source, owned.profile)
            link = Link("", file.new.root, file.tsize)
            is_complete = await self._is_kept_whole(root)
            blocks = await put_link(self._blocks, root, segments, link, owned.profile)
            return await self._commit_edit([file.new], blocks, is_complete, owned)

    async def remove(self, root: Cid, segments: Sequence[str], owned: Owned) -> Added:
        """`root` without the entry at that path; NoLink where there is none."""
        is_complete = await self._is_kept_whole(root)
        blocks = await remove_link(self._blocks, root, segments, owned.profile)
        return await self._commit_edit([], blocks, is_complete, owned)

    async def keep(self, root: Cid, owned: Owned) -> Added:
        """What is here as a whole already, for this owner too; BlockNotFound where it is not."""
        return await keep(self._index, self._blocks, root, owned)

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
            added = await self._commit([*before, new], owned, size=tree_size(blocks[-1].data))
            return replace(added, is_directory=True)

    async def release(self, owner: UUID, root: Cid, client: str | None = None) -> bool:
        """The owner no longer keeps the root; False where it did not. What nobody keeps goes."""
        return (await self.let_go(self._index.release(owner, root, client))).found

    async def let_go(self, release: Coroutine[object, object, Released]) -> Released:
        """Do the release, and delete what nobody keeps after it: in one piece."""
        return await uninterrupted(self._let_go(release))

    async def _let_go(self, release: Coroutine[object, object, Released]) -> Released:
        released = await release
        for key in released.keys:
            await self._deletion.now_or_later(key)
        return released

    async def sweep(self, older_than: float) -> int:
        """Remove objects of uploads that never finished, parts of such, and what deletions left that were
        cut short. How many there were; what could not be removed does not count."""
        swept = 0
        for key in await self._index.unsettled(older_than):
            if await self._index.abandon(key):
                swept += await self._deletion.now(key)
        # After the keys, so that an upload that still goes on hears that it is gone.
        return swept + await self._objects.remove_unfinished(older_than)

    @asynccontextmanager
    async def _draft(self, kind: str, head_size: int = 0) -> AsyncGenerator[Draft, None]:
        name = uuid.uuid4().hex
        key = f"{kind}/{name[:2]}/{name}"
        watched: _Watched | None = None
        try:
            await self._index.begin(key)
            async with self._objects.create(key, head_size) as writer:
                watched = _Watched(writer)
                yield Draft(key, watched)
        except BaseException:
            may_come = watched is not None and watched.may_come
            await uninterrupted(self._deletion.of_a_failure(key, may_come=may_come))
            raise

    async def _commit(
        self, objects: Sequence[NewObject], owned: Owned, size: int | None = None, roots: Sequence[Cid] = ()
    ) -> Added:
        for known in objects:
            await check_twin(self._objects, self._index, known.root)
        new = objects[-1]
        name = storable_name(owned.name)
        size = new.size if size is None else size
        root, *more = roots or [new.root]
        upload = NewUpload(owned.owner, root, name, size, owned.lifetime, owned.client)
        uploads = [upload, *(replace(upload, root=other) for other in more)]
        # Once begun it must not be torn by a client that leaves: it happens or it does not.
        kept = (await uninterrupted(self._commit_and_clean(objects, uploads))).kept[0]
        profile = new.profile or owned.profile.name
        added = Added(root, size, name, profile, more=more, receipt=new.receipt)
        return replace(added, file_id=kept.file_id, expires_at=kept.expires_at)

    async def _commit_and_clean(self, objects: Sequence[NewObject], uploads: list[NewUpload]) -> Committed:
        committed = await self._index.commit(objects, *uploads)
        for key in committed.surplus:
            await self._deletion.now_or_later(key)
        return committed


class _Watched:
    """A writer; `may_come` says that the object may be stored although its commit failed."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self.write = writer.write
        self.may_come = False

    async def abort(self) -> None:
        await self._writer.abort()

    async def commit(self, head: bytes, root: Cid | None = None) -> Receipt:
        try:
            return await self._writer.commit(head, root)
        except StoreRefused:
            raise
        except (StoreUnavailable, asyncio.CancelledError):
            # A request that timed out, or whose end nobody waited for.
            self.may_come = True
            raise
