"""A real nginx with the configuration that we ship, and a certificate of its own."""

from __future__ import annotations

import datetime
import shutil
import string
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import ports

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
    _write_certificate(directory, [domain, f"*.ipfs.{domain}", f"*.ipns.{domain}"])
    process, proxy = ports.with_free_ports(lambda: _started(directory, domain, upstream))
    try:
        yield proxy
    finally:
        ports.end(process)


def _started(directory: Path, domain: str, upstream: str) -> tuple[subprocess.Popen[bytes], Proxy]:
    binary = nginx_binary()
    assert binary is not None
    proxy = Proxy(ports.free_port(), ports.free_port(), directory / "certificate.pem")
    main = _configure(directory, domain, upstream, proxy)
    command = [binary, "-p", str(directory), "-e", "stderr", "-c", str(main), "-g", "daemon off;"]
    process = subprocess.Popen(command)
    for port in (proxy.http, proxy.https):
        ports.wait_until_it_listens(process, port)
    return process, proxy


def _configure(directory: Path, domain: str, upstream: str, proxy: Proxy) -> Path:
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
    return main


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
