"""The specs are tested against the same gateway in memory as the rest of the HTTP edge."""

from tests.gateway.conftest import gate

__all__ = ["gate"]
