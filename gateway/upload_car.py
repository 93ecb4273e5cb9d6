"""A CAR as the body of an upload."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway.context import Gateway
from gateway.refusals import BadRequest
from gateway.request import parse_parameters, target_of
from gateway.upload_body import read_body
from ipld.cid import Cid
from ipld.errors import InvalidCid
from storage.car_import import CarTerms
from storage.content import Added, Owned

CAR = "application/vnd.ipld.car"

_BOOLEANS = {"true": True, "false": False}


async def add_car(request: web.Request, gateway: Gateway, owned: Owned, root: Cid | None = None) -> Added:
    """Import the body; `root` is the one that a PUT names, and `?root=` is asked where it names none.

    `?partial=true` takes a CAR of which parts are missing. Raises InvalidCar, IncompleteCar and
    CidMismatch.
    """
    parameters = parse_parameters(target_of(request)[1])
    terms = CarTerms(root or _root(parameters), _is_partial(parameters), gateway.limits.car_blocks)
    return await gateway.content.add_car(read_body(request), owned, terms)


def _root(parameters: Mapping[str, str]) -> Cid | None:
    text = parameters.get("root")
    try:
        return None if text is None else Cid.parse(text)
    except InvalidCid as error:
        raise BadRequest(f"root: {error}") from error


def _is_partial(parameters: Mapping[str, str]) -> bool:
    text = parameters.get("partial", "false")
    if text not in _BOOLEANS:
        raise BadRequest("partial is true or false")
    return _BOOLEANS[text]
