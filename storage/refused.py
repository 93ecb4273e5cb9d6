"""What an upload can be refused for once its bytes have come."""

from __future__ import annotations

from ipld.errors import IpldError


class CidMismatch(ValueError):
    """The body does not hash to the CID that the client named."""


class IncompleteCar(IpldError, ValueError):
    """The DAG under a root of the CAR is neither in the CAR as a whole nor kept here."""


class InvalidTar(IpldError, ValueError):
    """The bytes are not a TAR, or hold what no directory can; `offset` is the byte where that shows."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset} of the TAR")
        self.offset = offset
