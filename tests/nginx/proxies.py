"""A real nginx with the configuration that we ship, and a certificate of its own."""

from __future__ import annotations

import datetime
import shutil
import socket
import string
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TEMPLATE = Path(__file__).parents[2] / "nginx" / "cidgate.conf.template"
MAIN = """
worker_processes 1;
pid $directory/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    include $directory/cidgate.conf;
}
"""


@dataclass(frozen=True)
class Proxy:
    """Its ports, and the certificate that clients are to trust."""

    http: int
    https: int
    certificate: Path


def nginx_binary() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@contextmanager
def nginx(directory: Path, domain: str, upstream: str) -> Iterator[Proxy]:
    """Runs until the block is left."""
    binary = nginx_binary()
    assert binary is not None
    proxy = Proxy(free_port(), free_port(), directory / "certificate.pem")
    _write_certificate(directory, [domain, f"*.ipfs.{domain}", f"*.ipns.{domain}"])
    variables = {
        "GATEWAY_DOMAIN": domain,
        "CIDGATE_ADDRESS": upstream,
        "HTTP_PORT": f"127.0.0.1:{proxy.http}",
        "HTTPS_PORT": f"127.0.0.1:{proxy.https}",
        "TLS_CERTIFICATE": str(proxy.certificate),
        "TLS_CERTIFICATE_KEY": str(directory / "key.pem"),
    }
    rendered = string.Template(TEMPLATE.read_text()).safe_substitute(variables)
    (directory / "cidgate.conf").write_text(rendered)
    main = directory / "nginx.conf"
    main.write_text(string.Template(MAIN).substitute(directory=directory))
    command = [binary, "-p", str(directory), "-e", "stderr", "-c", str(main), "-g", "daemon off;"]
    with subprocess.Popen(command) as process:
        try:
            _wait_for(proxy.https, process)
            yield proxy
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert process.poll() is None, "nginx ended at its start"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("nginx did not start")


def _write_certificate(directory: Path, names: list[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
