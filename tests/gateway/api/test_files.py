"""`/api/v1/files`, asked as clients ask."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest

from auth.keys import KeyRequest, Scope
from gateway.api.document import operations
from gateway.api.files import cursor_of, place_of
from gateway.api.routes import BASE
from gateway.forwarded import Proxies
from gateway.refusals import BadRequest
from storage.files import Place
from storage.memory_files import MemoryFiles
from storage.upload_log import Action, MemoryUploadLog, Outcome
from tests.gateway.gateways import Answer, Running, form_of, running
from tests.ipld.dags import blocks_of

NOBODYS = "1f0b64e0-7d5c-4b9e-8f0e-3d1c5a2b9e77"


async def api(
    gate: Running, target: str = "/files", method: str = "GET", key: str | None = None, **headers: str
) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    secret = gate.key if key is None else key
    return await gate.ask(method, BASE + target, {"Authorization": f"Bearer {secret}", **named})


async def files(gate: Running, query: str = "", key: str | None = None) -> list[Mapping[str, object]]:
    found = (await api(gate, f"/files{query}", key=key)).json["files"]
    assert isinstance(found, list)
    return found


async def another_key(gate: Running, *scopes: Scope, **more: object) -> str:
    wanted = frozenset(scopes or (Scope.READ, Scope.UPLOAD, Scope.DELETE))
    return (await gate.keys.create(KeyRequest("other", wanted, **more))).secret  # type: ignore[arg-type]


async def test_an_upload_is_a_file(gate: Running) -> None:
    created = (await gate.write("PUT", "/ipfs/a.txt", b"hello")).json
    shown = await api(gate, f"/files/{created['id']}")
    assert shown.status == 200
    assert shown.headers["Content-Type"] == "application/json; charset=utf-8"
    assert shown.headers["Cache-Control"] == "no-store"
    assert shown.headers["Access-Control-Allow-Origin"] == "*"
    file = shown.json
    assert str(file.pop("created_at")).endswith("Z")
    assert file == {
        "id": created["id"], "cid": created["cid"], "name": "a.txt", "size": 5, "expires_at": None,
        "path": f"/ipfs/{created['cid']}",
    }  # fmt: skip
    assert (await files(gate))[0]["id"] == created["id"]
    head = await api(gate, f"/files/{created['id']}", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == shown.headers["Content-Length"]


async def test_pages(gate: Running) -> None:
    for number in range(5):
        await gate.put(f"{number}", bytes([number]))
    seen: list[object] = []
    query: str | None = "?limit=2"
    pages = 0
    while query is not None:
        page = (await api(gate, f"/files{query}")).json
        assert isinstance(page["files"], list)
        seen += [file["name"] for file in page["files"]]
        query = None if page["next"] is None else f"?limit=2&cursor={page['next']}"
        pages += 1
    assert (seen, pages) == (["4", "3", "2", "1", "0"], 3)
    assert (await api(gate, "/files?limit=5")).json["next"] is None


async def test_filters(gate: Running) -> None:
    cid = await gate.put("Photo%20one.jpg", b"one")
    await gate.put("two.png", b"two")
    v1 = blocks_of(b"one")[0].cid
    assert str(v1) == cid
    for query, names in (
        ("?name=two.png", ["two.png"]),
        ("?name=photo&match=ipartial", ["Photo one.jpg"]),
        ("?name=.&match=partial", ["two.png", "Photo one.jpg"]),
        (f"?cid={cid}", ["Photo one.jpg"]),
        (f"?cid={cid}&name=two.png", []),
    ):
        assert [file["name"] for file in await files(gate, query)] == names


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("?limit=0", 400, "BAD_REQUEST"),
        ("?limit=1001", 400, "BAD_REQUEST"),
        ("?limit=9999999999", 400, "BAD_REQUEST"),
        ("?limit=x", 400, "BAD_REQUEST"),
        ("?cid=x", 400, "INVALID_CID"),
        ("?cid=", 400, "INVALID_CID"),
        ("?match=like", 400, "BAD_REQUEST"),
        ("?cursor=", 400, "BAD_REQUEST"),
        ("?cursor=abc", 400, "BAD_REQUEST"),
        ("?cursor=" + "_" * 32, 400, "BAD_REQUEST"),
        ("?cursor=" + "%00" * 32, 400, "BAD_REQUEST"),
        ("?cursor=" + "%C3%A9" * 32, 400, "BAD_REQUEST"),
        ("/" + NOBODYS, 404, "FILE_NOT_FOUND"),
        ("/x", 404, "FILE_NOT_FOUND"),
        ("/%00", 404, "FILE_NOT_FOUND"),
    ],
)
async def test_what_cannot_be_answered(gate: Running, query: str, status: int, reason: str) -> None:
    answer = await api(gate, f"/files{query}")
    assert (answer.status, answer.reason) == (status, reason)


def test_cursors_are_read_back() -> None:
    with pytest.raises(BadRequest):
        place_of("AAAA")
    place = place_of("AAYF" + "A" * 28)
    assert isinstance(place, Place)


async def test_a_cursor_is_the_place_of_its_file(gate: Running) -> None:
    await gate.put("a", b"a")
    [file] = gate.index.files()
    assert place_of(cursor_of(file)) == Place(file.created_at, file.file_id)


class TestKeys:
    @pytest.mark.parametrize(
        ("method", "path"), [(each.method, each.path) for each in operations() if each.needs_key]
    )
    async def test_nothing_is_said_without_one(self, gate: Running, method: str, path: str) -> None:
        target = BASE + path.replace("{id}", NOBODYS)
        for each in (method, "HEAD") if method == "GET" else (method,):
            for headers in ({}, {"Authorization": "Bearer cidgate_wrong"}, {"Authorization": "Basic eDp5"}):
                answer = await gate.ask(each, target, headers)
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    async def test_the_scope_counts(self, gate: Running) -> None:
        created = (await gate.write("PUT", "/ipfs/a", b"a")).json["id"]
        upload, read = await another_key(gate, Scope.UPLOAD), await another_key(gate, Scope.READ)
        for method, key in (("GET", upload), ("DELETE", upload), ("DELETE", read)):
            answer = await api(gate, f"/files/{created}", method, key)
            assert (answer.status, answer.reason) == (403, "FORBIDDEN")
            assert "insufficient_scope" in answer.headers["WWW-Authenticate"]
        assert (await api(gate, "/files", key=upload)).status == 403
        assert (await api(gate, "/files", key=read)).json == {"files": [], "next": None}
        assert (await api(gate, "/files", key=await another_key(gate, Scope.ADMIN))).status == 200

    async def test_a_key_that_an_operator_chose(self, gate: Running) -> None:
        key = await another_key(gate, secret="chosen-by-the-operator")
        assert (await api(gate, "/files", key=key)).status == 200

    async def test_another_keys_files_are_not_there(self, gate: Running) -> None:
        created = (await gate.write("PUT", "/ipfs/a", b"a")).json["id"]
        other = await another_key(gate)
        assert await files(gate, key=other) == []
        for method in ("GET", "DELETE"):
            assert (await api(gate, f"/files/{created}", method, other)).status == 404
        assert len(await files(gate)) == 1


async def test_a_name_that_is_too_long(gate: Running) -> None:
    refused = await gate.write("PUT", "/ipfs/" + "x" * 501, b"x")
    assert (refused.status, refused.reason) == (400, "BAD_REQUEST")
    assert await gate.nothing_stored()
    assert (await gate.write("PUT", "/ipfs/" + "x" * 500, b"x")).status == 201


class TestDeleting:
    async def test_the_last_file_takes_the_content_along(self, gate: Running) -> None:
        one = (await gate.write("PUT", "/ipfs/one", b"same")).json
        two = (await gate.write("PUT", "/ipfs/two", b"same")).json
        path = f"/ipfs/{one['cid']}"
        assert (await gate.get(path)).status == 200
        gone = await api(gate, f"/files/{one['id']}", "DELETE")
        assert (gone.status, gone.body) == (204, b"")
        assert (await gate.get(path)).status == 200
        assert (await api(gate, f"/files/{one['id']}", "DELETE")).status == 404
        assert (await api(gate, f"/files/{two['id']}", "DELETE")).status == 204
        assert (await gate.get(path)).status == 404
        assert await gate.nothing_stored()

    async def test_of_a_directory_that_shares_files(self, gate: Running) -> None:
        """What another root needs stays, whoever deletes the file."""
        lone = (await gate.write("PUT", "/ipfs/a", b"shared" * 100)).json
        tree = (
            await gate.write("PUT", f"/ipfs/{(await gate.post_form([('x', b'x'), ('z', b'z')])).cid}/y", b"y")
        ).json
        body, kind = form_of([("d/a", b"shared" * 100), ("d/b", b"b")])
        form = (await gate.write("POST", "/ipfs/", body, Content_Type=kind)).json
        await api(gate, f"/files/{lone['id']}", "DELETE")
        await api(gate, f"/files/{tree['id']}", "DELETE")
        assert (await gate.get(f"/ipfs/{form['cid']}/d/a")).body == b"shared" * 100


class TestRetention:
    @pytest.mark.parametrize(
        ("query", "default", "seconds"),
        [
            ("?expires-in=90", None, 90),
            ("?expires-in=5m", None, 300),
            ("?expires-in=1d12h", None, 36 * 3600),
            ("?temporary=true", None, 30 * 86400),
            ("?temporary=false", None, None),
            ("", 3600.0, 3600),
            ("?temporary=false", 3600.0, 3600),
            ("?temporary=true", 3600.0, 30 * 86400),
            ("?expires-in=2h", 3600.0, 7200),
            ("?expires-in=never", 3600.0, None),
            ("?expires-in=never", None, None),
            ("", None, None),
        ],
    )
    async def test_who_decides(
        self, gate: Running, query: str, default: float | None, seconds: float | None
    ) -> None:
        key = await another_key(gate, uploads_expire_in=default)
        created = await gate.ask("PUT", f"/ipfs/a{query}", {"Authorization": f"Bearer {key}"}, b"a")
        assert created.status == 201
        [file] = gate.index.files()
        [shown] = await files(gate, key=key)
        assert shown["expires_at"] == created.json["expires_at"]
        if seconds is None:
            assert (file.expires_at, shown["expires_at"]) == (None, None)
        else:
            assert file.expires_at is not None
            assert (file.expires_at - file.created_at).total_seconds() == seconds

    @pytest.mark.parametrize(
        "query",
        [
            "expires-in=",
            "expires-in=0",
            "expires-in=-1",
            "expires-in=0.5",
            "expires-in=1y",
            "expires-in=36501d",
            "expires-in=" + "9" * 400,
            "expires-in=Infinity",
            "expires-in=nan",
            "temporary=yes",
            "temporary=true&expires-in=1h",
        ],
    )
    async def test_what_is_no_lifetime(self, gate: Running, query: str) -> None:
        answer = await gate.write("PUT", f"/ipfs/a?{query}", b"a")
        assert (answer.status, answer.reason) == (400, "BAD_REQUEST")
        assert await gate.nothing_stored()

    async def test_every_way_of_uploading_takes_it(self, gate: Running) -> None:
        body, kind = form_of([("d/a", b"1"), ("d/b", b"2")])
        form = await gate.write("POST", "/ipfs/?expires-in=1h", body, Content_Type=kind)
        raw = await gate.write(
            "POST", "/ipfs/?expires-in=1h", b"raw", Content_Type="application/vnd.ipld.raw"
        )
        car = (await gate.get(f"/ipfs/{form.cid}?format=car")).body
        again = await gate.write(
            "POST", "/ipfs/?expires-in=1h&filename=car", car, Content_Type="application/vnd.ipld.car"
        )
        put = await gate.write("PUT", f"/ipfs/{form.cid}/d/c?expires-in=1h", b"3")
        for created in (form, raw, again, put):
            assert created.status == 201
            assert created.json["expires_at"] is not None

    async def test_again_without_an_expiry_lifts_it(self, gate: Running) -> None:
        first = (await gate.write("PUT", "/ipfs/a?expires-in=1", b"a")).json
        again = (await gate.write("PUT", "/ipfs/a", b"a")).json
        assert (again["id"], again["expires_at"]) == (first["id"], None)
        await asyncio.sleep(1.05)
        assert isinstance(gate.gateway.files, MemoryFiles)
        assert not (await gate.gateway.files.expire(10)).found


class TestLog:
    async def test_uploads_deletions_and_refusals(self, gate: Running) -> None:
        created = (await gate.write("PUT", "/ipfs/a", b"a")).json
        await gate.write("DELETE", f"/ipfs/{created['cid']}")
        await gate.write("DELETE", f"/ipfs/{created['cid']}")
        await gate.write("PUT", "/ipfs/a?profile=none", b"abc")
        await api(gate, f"/files/{NOBODYS}", "DELETE")
        done = [(entry.action, entry.outcome, entry.client, entry.file_id) for entry in gate.index.log]
        file_id = UUID(str(created["id"]))
        assert done == [
            (Action.UPLOAD, Outcome.DONE, "127.0.0.1", file_id),
            (Action.DELETE, Outcome.DONE, "127.0.0.1", file_id),
        ]
        assert isinstance(gate.gateway.log, MemoryUploadLog)
        refused = gate.gateway.log.entries
        assert [(entry.action, entry.outcome, entry.size) for entry in refused] == [
            (Action.DELETE, Outcome.REFUSED, None),
            (Action.UPLOAD, Outcome.REFUSED, 3),
            (Action.DELETE, Outcome.REFUSED, None),
        ]
        assert [(entry.reason or "").partition(":")[0] for entry in refused] == [
            "NOT_KEPT", "BAD_REQUEST", "FILE_NOT_FOUND",
        ]  # fmt: skip
        assert {entry.owner for entry in refused} == {gate.owner.id}

    async def test_nobody_without_a_key_writes_into_it(self, gate: Running) -> None:
        assert (await gate.ask("PUT", "/ipfs/a", {}, b"a")).status == 401
        assert isinstance(gate.gateway.log, MemoryUploadLog)
        assert not gate.gateway.log.entries
        assert not gate.index.log


@pytest.mark.parametrize(
    ("trusted", "header", "client"),
    [
        ([], "203.0.113.9", "127.0.0.1"),
        (["127.0.0.0/8"], None, "127.0.0.1"),
        (["127.0.0.0/8"], "203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8"], "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8", "203.0.113.0/24"], "1.2.3.4, 203.0.113.9", "1.2.3.4"),
        (["127.0.0.0/8", "203.0.113.0/24"], "203.0.113.8,203.0.113.9", "203.0.113.8"),
        (["127.0.0.0/8"], "203.0.113.9:5000", "203.0.113.9"),
        (["127.0.0.0/8"], "[2001:db8::1]:5000", "2001:db8::1"),
        (["127.0.0.0/8"], "2001:DB8::1", "2001:db8::1"),
        (["127.0.0.0/8"], "::ffff:203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8"], "203.0.113.9, unknown", "127.0.0.1"),
        (["127.0.0.0/8"], "203.0.113.9, <script>", "127.0.0.1"),
        (["127.0.0.0/8"], "", "127.0.0.1"),
        (["127.0.0.0/8"], ", ".join(["127.0.0.2"] * 1000), "127.0.0.2"),
    ],
)
async def test_where_it_came_from(trusted: list[str], header: str | None, client: str) -> None:
    proxies = Proxies(map(ipaddress.ip_network, trusted))
    async with running(proxies=proxies) as gate:
        headers = {} if header is None else {"X_Forwarded_For": header}
        await gate.write("PUT", "/ipfs/a", str(uuid4()).encode(), **headers)
        [entry] = gate.index.log
        assert entry.client == client
