"""Making sure that an older object is there before it takes the place of a new one."""

from __future__ import annotations

import logging

from ipld.cid import Cid
from storage.index import Index
from storage.objects import ObjectNotFound, ObjectStore

logger = logging.getLogger(__name__)


async def check_twin(objects: ObjectStore, index: Index, root: Cid) -> None:
    """Mark the object with that root as damaged where it is missing or cut."""
    twin = await index.find(root)
    if twin is None or twin.damaged:
        return
    try:
        if (await objects.head(twin.key)).size == twin.size:
            return
    except ObjectNotFound:
        pass
    logger.error("damaged: object %s of %s is missing or cut; a new upload replaces it", twin.key, root)
    await index.mark_damaged(twin.object_id)
