"""`cidgate ipns` as an operator types it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from config.settings import Settings
from gateway.commands.ipns import ipns
from gateway.commands.keys import keys
from ipld.ipns_name import IpnsName
from ipld.libp2p_keys import PrivateKey
from tests.gateway.processes import command
from tests.gateway.processes import served as serving
from tests.naming.ipns_records import HELLO, Owner

SECRET = "a long text for tests"


class Operator:
    """Types commands, over a database of its own."""

    def __init__(self, database: str, secret: str = SECRET) -> None:
        self.settings = Settings.from_env({"DATABASE_URL": database, "IPNS_KEY_SECRET": secret})

    def types(self, *arguments: str, group: click.Group = ipns) -> Result:
        done = CliRunner().invoke(group, list(arguments), obj=self.settings)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def gets(self, *arguments: str) -> str:
        done = self.types(*arguments)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    def fails(self, *arguments: str) -> str:
        done = self.types(*arguments)
        assert done.exit_code != 0
        return done.stderr


@pytest.fixture
def operator(database: str) -> Operator:
    return Operator(database)


def said(output: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in output.splitlines())
    return {field: value.strip() for field, _, value in pairs}


def test_put_and_get(operator: Operator, tmp_path: Path) -> None:
    owner = Owner()
    record, file = owner.record(3), tmp_path / "record"
    file.write_bytes(record.raw)
    assert operator.gets("put", f"/ipns/{owner.name}", str(file)) == f"/ipns/{owner.name} {HELLO}\n"
    shown = said(operator.gets("get", owner.name.cid.encode("base32")))
    assert (shown["name"], shown["value"], shown["sequence"], shown["ttl"]) == (
        str(owner.name),
        HELLO,
        "3",
        "60",
    )
    operator.gets("get", str(owner.name), "-o", str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == record.raw

    file.write_bytes(owner.record(2).raw)
    assert "a newer record" in operator.fails("put", str(owner.name), str(file))
    assert "not signed by the key" in operator.fails("put", str(Owner().name), str(file))
    assert "not an IPNS name" in operator.fails("put", "example.com", str(file))
    file.write_bytes(bytes(20_000))
    assert "are allowed" in operator.fails("put", str(owner.name), str(file))


def test_publishing(operator: Operator) -> None:
    first = operator.types("publish", "blog", HELLO, "--ttl", "1m", "--lifetime", "24h")
    path, value = first.stdout.split()
    name = path.removeprefix("/ipns/")
    assert (IpnsName.parse(name).inlined_key() is not None, value) == (True, HELLO)
    assert "key blog, sequence 0, TTL 60 s, valid until 20" in first.stderr
    second = operator.types("publish", name, "bafkqaaa")
    assert second.stdout == f"/ipns/{name} /ipfs/bafkqaaa\n"
    assert "key blog, sequence 1, TTL 300 s" in second.stderr
    assert operator.gets("key", "list").split() == ["blog", name, "operator"]


def test_keys(operator: Operator, tmp_path: Path) -> None:
    operator.types("create", "laptop", group=keys)
    name = operator.gets("key", "create", "blog", "--for", "laptop").strip()
    assert "operator" not in operator.gets("key", "list")
    assert operator.gets("key", "create", "rsa", "--type", "rsa").startswith("k2k4r8")

    out = tmp_path / "key"
    operator.gets("key", "export", "blog", "-o", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert str(IpnsName.of_key(PrivateKey.decode(out.read_bytes()).public)) == name
    assert "exists" in operator.fails("key", "export", "blog", "-o", str(out))
    assert "already" in operator.fails("key", "import", "copy", str(out))

    key = PrivateKey.generate()
    out.write_bytes(key.encode())
    assert operator.gets("key", "import", "mine", str(out)).strip() == str(IpnsName.of_key(key.public))
    operator.types("create", "desktop", group=keys)
    owner = operator.gets("key", "list").splitlines()[0].split()[-1]
    operator.gets("key", "give", "blog", "desktop")
    assert owner not in operator.gets("key", "list")


def test_what_can_be_mended_is_said(operator: Operator, database: str, tmp_path: Path) -> None:
    assert "set IPNS_KEY_SECRET" in Operator(database, "").fails("publish", "blog", HELLO)
    operator.gets("publish", "blog", HELLO)
    changed = Operator(database, "another long text, too").fails("publish", "blog", HELLO)
    assert "is not the secret that the key blog" in changed
    (tmp_path / "key").write_bytes(b"nothing")
    for arguments, text in (
        (("publish", "site", "nothing"), "neither a CID nor a path"),
        (("publish", "site", HELLO, "--ttl", "soon"), "ttl is a duration"),
        (("publish", "Not.A.Label", HELLO), "cannot name a key"),
        (("get", str(Owner().name)), "no place that this gateway asks"),
        (("key", "create", "x", "--for", "nobody"), "nobody"),
        (("key", "give", "x", "nobody"), "nobody"),
        (("key", "export", "x", "-o", str(tmp_path / "x")), "no IPNS key here is called 'x'"),
        (("key", "import", "x", str(tmp_path / "key")), "Error: "),
    ):
        assert text in operator.fails(*arguments)
    # A publication that cannot be made makes no key.
    assert "site" not in operator.gets("key", "list")


def test_beside_a_running_gateway(tmp_path: Path) -> None:
    with serving(tmp_path, IPNS_KEY_SECRET=SECRET) as running:
        _, _, body = running.ask("POST", f"/ipns/blog?arg={HELLO}")
        name = json.loads(body)["name"]
        assert running.get(f"/ipns/{name}")[0] == 200
        done = command(tmp_path, "ipns", "publish", "blog", f"{HELLO}/missing", IPNS_KEY_SECRET=SECRET)
        assert done.returncode == 0, done.stderr
        status, headers, _ = running.ask("GET", f"/ipns/{name}?format=ipns-record")
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=300")
        assert "sequence 1" in done.stderr
