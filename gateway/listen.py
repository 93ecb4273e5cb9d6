"""The socket that the gateway answers on."""

from __future__ import annotations

import errno
import socket


class PortTaken(Exception):
    """Another program listens there; the text names the setting that mends it."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that others of ours may share (SO_REUSEPORT); port 0 picks a free one.

    Raises PortTaken, and OSError for an address that this machine does not have.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        _check_free(family, host, port)
    return _bound(family, host, port)


def share(host: str, port: int) -> socket.socket:
    """The address that another process of ours has bound."""
    return _bound(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)


def _bound(family: int, host: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _check_free(family: int, host: str, port: int) -> None:
    # With SO_REUSEPORT a second gateway would share the port in silence, so ask without it first.
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortTaken(
                f"port {port} of {host} is taken by another program; "
                f"end it, or set GATEWAY_PORT, for example to {_free_port(family, host)}"
            ) from error


def _free_port(family: int, host: str) -> int:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def url_of(bound: socket.socket) -> str:
    """How a browser on this machine reaches the socket."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - every address of the machine, this one too
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
