"""`POST /ipns/<key>`: a name of ours points to new content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import unquote, unquote_to_bytes

from aiohttp import hdrs, web

from auth.errors import Unauthenticated
from auth.keys import Scope
from auth.middleware import identity_of
from gateway.context import GATEWAY
from gateway.durations import parse_duration
from gateway.refusals import BadRequest
from gateway.request import parse_parameters, target_of
from gateway.routing_api import read_bounded
from ipld.ipns_record import IpnsRecord
from ipld.rfc3339 import write
from naming.named_keys import NamedKey
from naming.publisher import MAX_VALUE_BYTES, Terms

# JSON takes up to six bytes for one.
MAX_BODY_BYTES = 8 * MAX_VALUE_BYTES


async def publish_name(request: web.Request) -> web.StreamResponse:
    """Publish under the key in the path, which is made if there is none: 201 then, else 200.

    The value stands in `?arg=` or `?value=`, or in the body: as it is, as a form, or as JSON with `value`,
    `ttl` and `lifetime`. Raises BadRequest and what `Publisher.key_of` and `publish` raise.
    """
    api_key = identity_of(request).key
    if api_key is None:
        raise Unauthenticated("UNAUTHORIZED", "This needs an API key: send `Authorization: Bearer <key>`.")
    publisher = request.app[GATEWAY].publisher
    asked = await _asked(request)
    value, terms = value_of(asked), terms_of(asked, publisher.terms)
    text = unquote(request.match_info["key"])
    publisher.check(value, terms)
    key, made = await publisher.key_of(text, api_key.id, admin=api_key.allows(Scope.ADMIN))
    record = await publisher.publish(key, value, terms)
    announced = await publisher.announce(key.name, record)
    headers = {hdrs.LOCATION: f"/ipns/{key.name}", hdrs.CONTENT_TYPE: "application/json; charset=utf-8"}
    body = json.dumps({**description(key, record), "announced": dict(announced)}, ensure_ascii=False)
    return web.Response(status=201 if made else 200, headers=headers, body=body.encode() + b"\n")


def description(key: NamedKey, record: IpnsRecord) -> dict[str, object]:
    """What a publisher is told of a record; `ttl` in seconds."""
    return {
        "name": str(key.name),
        "key": key.label,
        "value": record.value.decode("utf-8", "replace"),
        "sequence": record.sequence,
        "eol": write(record.eol).decode(),
        "ttl": record.ttl_seconds,
    }


def value_of(asked: Mapping[str, str]) -> str:
    """The path or CID to point to."""
    value = asked.get("arg") or asked.get("value")
    if not value:
        raise BadRequest("where the name points to is missing: send `?arg=/ipfs/<cid>`, or that as the body")
    return value


def terms_of(asked: Mapping[str, str], default: Terms) -> Terms:
    """How long the record lasts and may be cached; BadRequest for what is no duration."""
    lifetime = parse_duration("lifetime", asked["lifetime"]) if "lifetime" in asked else default.lifetime
    ttl = parse_duration("ttl", asked["ttl"]) if "ttl" in asked else min(default.ttl, lifetime)
    return Terms(lifetime, ttl)


async def _asked(request: web.Request) -> Mapping[str, str]:
    query = _parameters(target_of(request)[1])
    body = await read_bounded(request, MAX_BODY_BYTES)
    try:
        text = body.decode().strip()
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not UTF-8") from error
    if request.content_type == "application/json" and text:
        return {**_json(text), **query}
    # `curl -d /ipfs/…` calls anything a form.
    if (
        request.content_type == "application/x-www-form-urlencoded"
        and not text.startswith("/")
        and "=" in text
    ):
        return {**_parameters(text), **query}
    return {"value": text, **query} if text else query


def _parameters(query: str) -> dict[str, str]:
    """Those of a query or form; BadRequest for bytes that are no UTF-8, which would be read as others."""
    try:
        unquote_to_bytes(query).decode()
    except UnicodeError as error:
        raise BadRequest("the parameters are not UTF-8") from error
    return parse_parameters(query)


def _json(text: str) -> dict[str, str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadRequest("the body is a JSON object with `value`, and `ttl` and `lifetime` if you like")
    known = {name: document[name] for name in ("arg", "value", "ttl", "lifetime") if name in document}
    if not all(isinstance(value, str | int | float) for value in known.values()):
        raise BadRequest("`value` is a text, `ttl` and `lifetime` are durations")
    return {name: str(value) for name, value in known.items()}
