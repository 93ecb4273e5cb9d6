"""Writing: every row of the table of uploads, and what each answers."""

from __future__ import annotations

import pytest

from ipld.cid import DAG_PB, Cid
from ipld.unixfs.profiles import UNIXFS_V0_2015, UNIXFS_V1_2025
from tests.gateway.gateways import MIB, Answer, Running, form_of
from tests.ipld.dags import blocks_of

HELLO = b"hello\n"
HELLO_V1 = str(blocks_of(HELLO, UNIXFS_V1_2025)[0].cid)
HELLO_V0 = str(blocks_of(HELLO, UNIXFS_V0_2015)[0].cid)
LARGE = bytes(range(256)) * 4096 * 5


def check_created(answer: Answer) -> None:
    cid = answer.cid
    assert set(answer.json) == {"cid", "size", "name", "profile", "path", "id", "expires_at"}
    assert answer.headers["Location"] == answer.headers["Content-Location"]
    assert answer.headers["Location"].startswith(f"/ipfs/{cid}")
    assert answer.headers["IPFS-Hash"] == cid
    assert answer.headers["ETag"] == f'"{cid}"'
    assert answer.headers["X-Ipfs-Roots"] == cid
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("method", "target", "headers", "name"),
    [
        ("POST", "/ipfs/", {}, ""),
        ("POST", "/ipfs/?filename=a%20b.txt", {}, "a b.txt"),
        ("POST", "/ipfs/", {"Content-Disposition": 'attachment; filename="c.txt"'}, "c.txt"),
        ("POST", "/ipfs/", {"Content-Disposition": "attachment; filename*=UTF-8''%C5%BA"}, "ź"),
        ("POST", "/ipfs/", {"Content-Type": "application/x-www-form-urlencoded"}, ""),
        ("POST", "/ipfs/", {"Content-Type": "text/html", "Accept": "text/html"}, ""),
        ("PUT", "/ipfs/photo.txt", {}, "photo.txt"),
        ("PUT", "/ipfs/%E6%97%A5%20.txt", {}, "日 .txt"),
        ("PUT", "/ipfs/%2E%2E%2Fetc%2Fpasswd", {}, "../etc/passwd"),
        ("PUT", "/ipfs/a%00b", {}, "a?b"),
        ("PUT", "/ipfs/a%0D%0AX-Evil:%201", {}, "a\r\nX-Evil: 1"),
        ("PUT", "/ipfs/", {}, ""),
        ("PUT", "/ipfs/QmNotACid", {}, "QmNotACid"),
    ],
)
async def test_a_file(gate: Running, method: str, target: str, headers: dict[str, str], name: str) -> None:
    answer = await gate.ask(method, target, {**gate.auth, **headers}, HELLO)
    check_created(answer)
    assert {**answer.json, "id": None} == {
        "cid": HELLO_V1, "size": 6, "name": name, "profile": "unixfs-v1-2025", "path": f"/ipfs/{HELLO_V1}",
        "id": None, "expires_at": None,
    }  # fmt: skip
    assert "X-Evil" not in answer.headers
    assert (await gate.get(answer.headers["Location"])).body == HELLO


async def test_a_name_that_is_not_utf8(gate: Running) -> None:
    assert (await gate.write("PUT", "/ipfs/a%FFb", HELLO)).status == 400
    assert (await gate.write("PUT", "/ipfs/dir/%FF", HELLO)).status == 400


@pytest.mark.parametrize(("profile", "cid"), [("unixfs-v1-2025", HELLO_V1), ("unixfs-v0-2015", HELLO_V0)])
async def test_the_profile_decides_the_cid(gate: Running, profile: str, cid: str) -> None:
    answer = await gate.write("PUT", f"/ipfs/x?profile={profile}", HELLO)
    assert (answer.cid, answer.json["profile"]) == (cid, profile)


async def test_an_unknown_profile(gate: Running) -> None:
    answer = await gate.write("PUT", "/ipfs/x?profile=balanced", HELLO)
    assert (answer.status, answer.reason) == (400, "BAD_REQUEST")
    assert "unixfs-v1-2025" in answer.text
    assert await gate.nothing_stored()


async def test_an_empty_file(gate: Running) -> None:
    cid = await gate.put("empty", b"")
    answer = await gate.get(f"/ipfs/{cid}")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize("size", [1, MIB, MIB + 1, len(LARGE)])
async def test_without_a_length(gate: Running, size: int) -> None:
    async def chunks() -> object:
        for start in range(0, size, 70_001):
            yield LARGE[start : min(start + 70_001, size)]

    answer = await gate.write("PUT", "/ipfs/-", chunks())
    assert answer.cid == str(blocks_of(LARGE[:size])[0].cid)
    assert (await gate.get(f"/ipfs/{answer.cid}")).body == LARGE[:size]


async def test_a_form_is_a_directory(gate: Running) -> None:
    answer = await gate.post_form([("a/b/c.txt", b"1"), ("/a/ź.txt", b"2"), ('q"%22.txt', b"3")][:2])
    check_created(answer)
    assert answer.headers["Location"] == f"/ipfs/{answer.cid}/"
    assert (await gate.get(f"/ipfs/{answer.cid}/a/b/c.txt")).body == b"1"
    assert (await gate.get(f"/ipfs/{answer.cid}/a/%C5%BA.txt")).body == b"2"


async def test_one_part_alone_is_a_file(gate: Running) -> None:
    answer = await gate.post_form([("photo.txt", HELLO)])
    check_created(answer)
    assert (answer.cid, answer.json["name"]) == (HELLO_V1, "photo.txt")


async def test_fields_without_a_file_name_are_passed_over(gate: Running) -> None:
    body, kind = form_of([("photo.txt", HELLO)])
    field = b'--B\r\nContent-Disposition: form-data; name="comment"\r\n\r\nnice\r\n'
    assert (await gate.write("POST", "/ipfs/", field + body, Content_Type=kind)).cid == HELLO_V1


@pytest.mark.parametrize(
    "files",
    [["../x", "y"], ["a/../b", "y"], ["a", "a"], ["a", "a/b"], ["a\0b", "c"], ["./a", "c"], ["n" * 300, "c"]],
)
async def test_hostile_paths_in_forms(gate: Running, files: list[str]) -> None:
    if len(files[0]) == 300:
        assert (await gate.post_form([(name, b"x") for name in files])).status in (201, 400)
        return
    answer = await gate.post_form([(name, b"x") for name in files])
    assert (answer.status, answer.json["error"] is not None) == (400, True)
    assert await gate.nothing_stored()


GOOD, KIND = form_of([("a", b"12345"), ("b", b"12345")])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", KIND),
        (b"no form at all", KIND),
        (GOOD, "multipart/form-data"),
        (GOOD, "multipart/form-data; boundary=other"),
        (form_of([], b"--B--\r\n")[0], KIND),
        (form_of([("", b"x")])[0], KIND),
        (b"--B\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C\r\n\r\nx\r\n--C--\r\n--B--\r\n", KIND),
        (b"--B\r\n" + b"X-H: 1\r\n" * 500 + b"\r\nx\r\n--B--\r\n", KIND),
        (b"--B\r\nX-H: " + b"1" * 100_000 + b"\r\n\r\nx\r\n--B--\r\n", KIND),
        *[(GOOD[:-cut], KIND) for cut in range(5, len(GOOD), 9)],
    ],
)
async def test_forms_that_break_the_rules(gate: Running, body: bytes, kind: str) -> None:
    answer = await gate.write("POST", "/ipfs/", body, Content_Type=kind)
    assert answer.status == 400, answer
    assert answer.reason in ("BAD_REQUEST", "BODY_CUT_SHORT")
    assert await gate.nothing_stored()


async def test_a_raw_block(gate: Running) -> None:
    answer = await gate.write("POST", "/ipfs/", HELLO, Content_Type="application/vnd.ipld.raw")
    check_created(answer)
    assert answer.cid == HELLO_V1
    assert (await gate.get(answer.headers["Location"])).body == HELLO
    link, blocks = blocks_of(HELLO, UNIXFS_V0_2015)
    made = await gate.write(
        "POST", "/ipfs/?cid-codec=dag-pb", blocks[-1].data, Content_Type="application/vnd.ipld.raw"
    )
    assert Cid.parse(made.cid) == link.cid.to_v1()
    assert Cid.parse(made.cid).codec == DAG_PB
    assert (await gate.get(f"/ipfs/{HELLO_V0}")).body == HELLO
    for query, body, status in [
        ("?cid-codec=nonsense", b"x", 400),
        ("", bytes(2 * MIB + 1), 422),
        ("?cid-codec=dag-pb", b"no dag-pb", 422),
    ]:
        bad = await gate.write("POST", f"/ipfs/{query}", body, Content_Type="application/vnd.ipld.raw")
        assert bad.status == status, bad


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
async def test_packed_bodies_are_refused(gate: Running, encoding: str) -> None:
    answer = await gate.write("PUT", "/ipfs/x", b"\x1f\x8b", Content_Encoding=encoding)
    assert answer.status == 415
    assert await gate.nothing_stored()


@pytest.mark.parametrize("cid", [HELLO_V1, HELLO_V0, str(Cid.parse(HELLO_V0).to_v1())])
async def test_put_to_a_cid(gate: Running, cid: str) -> None:
    answer = await gate.write("PUT", f"/ipfs/{cid}", HELLO)
    check_created(answer)
    assert answer.cid == cid
    assert (await gate.get(f"/ipfs/{cid}")).body == HELLO


@pytest.mark.parametrize("body", [b"other", b"", LARGE])
async def test_put_to_a_cid_of_something_else(gate: Running, body: bytes) -> None:
    answer = await gate.write("PUT", f"/ipfs/{HELLO_V1}", body)
    assert (answer.status, answer.reason) == (409, "CONFLICT")
    assert await gate.nothing_stored()
    assert (await gate.get(f"/ipfs/{HELLO_V1}")).status == 404


async def test_put_to_a_path(gate: Running) -> None:
    root = (await gate.post_form([("a/b.txt", b"1"), ("c", b"2")])).cid
    deep = await gate.write("PUT", f"/ipfs/{root}/new/sub/d%20e.txt", HELLO)
    check_created(deep)
    assert deep.headers["Location"] == f"/ipfs/{deep.cid}/new/sub/d%20e.txt"
    assert (await gate.get(deep.headers["Location"])).body == HELLO
    assert (await gate.get(f"/ipfs/{deep.cid}/a/b.txt")).body == b"1"
    replaced = await gate.write("PUT", f"/ipfs/{deep.cid}/a", HELLO)
    assert (await gate.get(f"/ipfs/{replaced.cid}/a")).body == HELLO
    assert (await gate.get(f"/ipfs/{replaced.cid}/a/b.txt")).status == 404
    assert (await gate.get(f"/ipfs/{root}/a/b.txt")).body == b"1"
    again = (await gate.post_form([("a/b.txt", b"1"), ("c", b"2"), ("new/sub/d e.txt", HELLO)])).cid
    assert again == deep.cid


async def test_put_to_a_path_that_cannot_be(gate: Running) -> None:
    root = (await gate.post_form([("a/b.txt", b"1"), ("c", b"2")])).cid
    for path, status in [
        ("c/below-a-file", 409),
        ("../up", 400),
        ("x/../y", 400),
        ("x%2Fy", 400),
        ("x/%2E%2E/y", 400),
        ("x%00y", 400),
        ("/".join("d" * 300), 400),
    ]:
        answer = await gate.write("PUT", f"/ipfs/{root}/{path}", HELLO)
        assert answer.status == status, (path, answer)
    missing = await gate.write("PUT", f"/ipfs/{HELLO_V1}/x", HELLO)
    assert missing.status == 404


async def test_delete_a_path(gate: Running) -> None:
    root = (await gate.post_form([("a/b.txt", b"1"), ("c", b"2")])).cid
    answer = await gate.write("DELETE", f"/ipfs/{root}/a/b.txt")
    check_created(answer)
    assert (await gate.get(f"/ipfs/{answer.cid}/a/b.txt")).status == 404
    assert (await gate.get(f"/ipfs/{answer.cid}/c")).body == b"2"
    assert (await gate.write("DELETE", f"/ipfs/{root}/nothing")).status == 404
    assert (await gate.write("DELETE", f"/ipfs/{root}/nothing/deep")).status == 404


async def test_let_go(gate: Running) -> None:
    cid = (await gate.post_form([("a/b.txt", LARGE), ("c", b"2")])).cid
    assert (await gate.get(f"/ipfs/{cid}/")).status == 200
    assert (await gate.get(f"/ipfs/{cid}/a/b.txt")).status == 200
    gone = await gate.write("DELETE", f"/ipfs/{cid}")
    assert (gone.status, gone.body) == (204, b"")
    assert (await gate.get(f"/ipfs/{cid}/")).status == 404
    assert (await gate.get(f"/ipfs/{cid}/a/b.txt")).status == 404
    again = await gate.write("DELETE", f"/ipfs/{cid}")
    assert (again.status, again.reason) == (404, "NOT_KEPT")
    assert await gate.nothing_stored()
    assert (await gate.write("DELETE", "/ipfs/not-a-cid")).status == 400


async def test_the_same_bytes_twice_are_stored_once(gate: Running) -> None:
    for name in ("one", "two"):
        assert await gate.put(name, LARGE) == str(blocks_of(LARGE)[0].cid)
    assert len(gate.objects.data) == 1
    assert not await gate.index.unsettled(0)
