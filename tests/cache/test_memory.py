"""The cache in memory: bounded in bytes, and the least recently used goes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cache.memory import ENTRY_BYTES, MemoryCache


def cache_for(entries: int, size: int = 1000) -> MemoryCache[str]:
    return MemoryCache(entries * (size + ENTRY_BYTES))


def test_what_was_put_is_got() -> None:
    cache = cache_for(10)
    assert cache.get("a") is None
    cache.put("a", "1", 1000)
    assert cache.get("a") == "1"
    cache.put("a", "2", 500)
    assert cache.get("a") == "2"
    assert (len(cache), cache.bytes) == (1, 500 + ENTRY_BYTES)


def test_the_least_recently_used_goes() -> None:
    cache = cache_for(10)
    for n in range(10):
        cache.put(n, str(n), 1000)
    assert cache.get(0) == "0"
    cache.put("new", "x", 1000)
    assert cache.get(1) is None
    assert cache.get(0) == "0"
    assert len(cache) == 10


def test_what_is_too_large_is_not_kept_nor_its_older_self() -> None:
    cache = cache_for(16)
    cache.put("a", "small", 1000)
    cache.put("b", "b", 1000)
    cache.put("a", "large", 3000)
    assert cache.get("a") is None
    assert cache.get("b") == "b"


def test_dropping() -> None:
    cache = cache_for(10)
    cache.put("a", "1", 10)
    cache.put("b", "2", 10)
    cache.drop("a")
    cache.drop("a")
    assert cache.get("a") is None
    assert cache.bytes == 10 + ENTRY_BYTES
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_cache_of_nothing() -> None:
    cache: MemoryCache[str] = MemoryCache(0)
    cache.put("a", "1", 1)
    assert cache.get("a") is None


STEPS = st.lists(st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 9), st.integers(0, 3000)))


@given(STEPS)
def test_never_more_than_its_size(steps: list[tuple[str, int, int]]) -> None:
    cache: MemoryCache[int] = MemoryCache(10_000)
    sizes: dict[int, int] = {}
    for step, key, size in steps:
        if step == "put":
            cache.put(key, size, size)
            sizes[key] = size
        elif step == "drop":
            cache.drop(key)
        else:
            assert cache.get(key) in (None, sizes.get(key))
        kept = [sizes[key] + ENTRY_BYTES for key in range(10) if cache.get(key) is not None]
        assert sum(kept) == cache.bytes <= 10_000
