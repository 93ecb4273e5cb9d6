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
    _write_certificate(directory, [domain, f"*.ipfs.{domain}", f"*.ipns.{domain}"])
    process, proxy = _started(directory, domain, upstream)
    try:
        yield proxy
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _started(
    directory: Path, domain: str, upstream: str, tries: int = 5
) -> tuple[subprocess.Popen[bytes], Proxy]:
    """On other ports where somebody was quicker to take those that were free."""
    binary = nginx_binary()
    assert binary is not None
    proxy = Proxy(free_port(), free_port(), directory / "certificate.pem")
    main = _configure(directory, domain, upstream, proxy)
    command = [binary, "-p", str(directory), "-e", "stderr", "-c", str(main), "-g", "daemon off;"]
    process = subprocess.Popen(command)
    if _answers(proxy.https, process):
        return process, proxy
    assert tries > 1, "nginx ended at its start"
    return _started(directory, domain, upstream, tries - 1)


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """False where it ended instead."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    process.kill()
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
