"""Same bytes, same CIDs: IPIP-0499 vectors made with Kubo-compatible tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipld.cid import Cid
from ipld.unixfs.directory import build_symlink, build_tree
from ipld.unixfs.node import Link
from ipld.unixfs.profiles import PROFILES, Profile
from ipld.unixfs.writer import BuiltFile, FileBuilder
from tests.fixture_data import FIXTURES, content, fixture, needs_fixtures

# Copied from the vectors, so that a clone without them still checks CIDs.
FILES = {
    0: (
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
    ),
    1: (
        "bafkreibcvwxqlcrmwzulcxfuyhzq47ghec56hdaumvcbnhntl67wga4jyq",
        "QmYgeDNcNoWGunNmxb2do8E5oMALcrxnzxCWLpzrWeBjZ4",
    ),
    262145: (
        "bafkreie35w65it3sweywrsfgy6numc72s5yfxhfus4bvvlccbs7agaznue",
        "QmPUWkCpjJCgGTEQzsftEia6vantu5pcZ47QZZ3uFAJTSt",
    ),
    1048577: (
        "bafybeigmse5oppscy4j5zs44b5sfd3mv5jvb527qohkz4qmgud6lirnf3m",
        "QmSMELjpQSsXMvyCgt9XFKcxfpoN63AQ8LgR53DKY4RZAz",
    ),
}
NESTED = (
    "bafybeiewg5vzprchpoxc3dlzeatjrzufqrvmyhhwrm5pynrsq7xfkruo6m",
    "QmRQpphFPdBUvhDwQ13cixAP6zbPEtTH67377KdpxAztDg",
)
SYMLINK = (
    "bafybeih5phpflxgbdyq7uhjacbuksfpw76hfpjwbqwydabwxd52mjupywu",
    "QmPB6EwZHBhkawmFEyYXqTn2Jc9k1gWeK5UrirFHyPxQTr",
)
HAMT_6000 = (
    "bafybeifurz3vjht3mc46mfbqoszipx3tqqaex4zeznqewratgb5oc4x63q",
    "QmWSTdtw2hNUGZ14FvDBbraPfTk7c6p3UxTzKwd6pKa6L4",
)


def add(data: bytes, profile: Profile, piece: int = 1 << 20) -> BuiltFile:
    builder = FileBuilder(profile)
    for start in range(0, len(data), piece):
        builder.add(memoryview(data)[start : start + piece])
    return builder.finish()


def entry(given: dict[str, Any] | None, profile: Profile) -> Link | None:
    if given is None:
        return None
    if "link" in given:
        block = build_symlink(given["link"], profile)
        return Link("", block.cid, len(block.data))
    built = add(content(given["seed"], given["size"]), profile)
    return Link("", built.root, built.tsize)


def tree(given: dict[str, Any], profile: Profile) -> Cid:
    if "entries" in given:
        entries = given["entries"]
    else:
        rule = given["generator"]
        entries = {
            rule["name_format"].format(i=i): {"seed": rule["seed_format"].format(i=i), "size": rule["size"]}
            for i in range(rule["count"])
        }
    return build_tree({path: entry(one, profile) for path, one in entries.items()}, profile).root.cid


@pytest.fixture(params=PROFILES.values(), ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    assert isinstance(request.param, Profile)
    return request.param


def expected(texts: tuple[str, str], profile: Profile) -> Cid:
    return Cid.parse(texts[1 - profile.cid_version])


@pytest.mark.parametrize("size", FILES)
def test_files(size: int, profile: Profile) -> None:
    assert add(content(f"vector-{size}", size), profile).root == expected(FILES[size], profile)


def test_nested_tree(profile: Profile) -> None:
    entries = {
        "index.html": {"seed": "i", "size": 64},
        "sub/one.txt": {"seed": "1", "size": 1},
        "sub/deeper/two.txt": {"seed": "2", "size": 2},
        "hollow": None,
    }
    assert tree({"entries": entries}, profile) == expected(NESTED, profile)


def test_symlink(profile: Profile) -> None:
    entries = {"real.txt": {"seed": "r", "size": 9}, "link.txt": {"link": "real.txt"}}
    assert tree({"entries": entries}, profile) == expected(SYMLINK, profile)


def test_hamt(profile: Profile) -> None:
    rule = {"count": 6000, "name_format": "file-{i:05d}.txt", "seed_format": "hamt-6000-{i}", "size": 12}
    assert tree({"generator": rule}, profile) == expected(HAMT_6000, profile)


def vectors(kind: str) -> list[Any]:
    path = FIXTURES / "unixfs-profiles.json"
    return json.loads(path.read_text())[kind] if path.is_file() else []


class TestVectors:
    pytestmark = needs_fixtures

    def test_there_are_vectors(self) -> None:
        assert json.loads(fixture("unixfs-profiles.json"))["files"]

    @pytest.mark.parametrize("vector", vectors("files"), ids=lambda vector: vector["seed"])
    def test_files(self, vector: dict[str, Any], profile: Profile) -> None:
        built = add(content(vector["seed"], vector["size"]), profile, piece=1_000_003)
        assert str(built.root) == vector[profile.name]
        assert built.size == vector["size"]

    @pytest.mark.parametrize("vector", vectors("trees"), ids=lambda vector: vector["name"])
    def test_trees(self, vector: dict[str, Any], profile: Profile) -> None:
        assert str(tree(vector, profile)) == vector[profile.name]
