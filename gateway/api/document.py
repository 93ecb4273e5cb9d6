"""The OpenAPI document, for programs as it is and for people as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from aiohttp import hdrs, web

from gateway.api.answers import JSON
from gateway.context import GATEWAY
from gateway.formats.pages import PAGE_HEADERS, template
from gateway.health import program_version
from gateway.request import ORIGIN

_Node: TypeAlias = "Mapping[str, _Node] | list[_Node] | str | int | bool | None"
_Object: TypeAlias = "Mapping[str, _Node]"

_PATH = Path(__file__).with_name("openapi.json")
DOCUMENT: _Object = json.loads(_PATH.read_text("utf-8"))
# It changes with the program only, and is asked for by programs when they start.
_CACHED = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body; `values` says what it may be."""

    name: str
    values: str
    meaning: str
    required: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a status means; `schema` is the name of its body's."""

    status: str
    meaning: str
    schema: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    inputs: list[Field]
    answers: list[Answer]


@dataclass(frozen=True, slots=True)
class Schema:
    """A body of the document's own."""

    name: str
    fields: list[Field]


async def get_openapi(_: web.Request) -> web.StreamResponse:
    """`GET /api/v1/openapi.json`."""
    return web.Response(body=_TEXT, headers={hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: _CACHED})


async def get_docs(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/docs`: a page that loads nothing and runs nothing."""
    gateway = request.app[GATEWAY]
    url = gateway.public_url or f"{gateway.proxies.scheme(request)}://{request[ORIGIN].host or 'localhost'}"
    headers = {**PAGE_HEADERS, hdrs.CONTENT_TYPE: "text/html; charset=utf-8", hdrs.CACHE_CONTROL: _CACHED}
    return web.Response(text=render(url.rstrip("/")), headers=headers)


def render(url: str) -> str:
    """The page; `url` is how clients reach the gateway."""
    info = _object(DOCUMENT["info"])
    [server] = cast("list[_Object]", DOCUMENT["servers"])
    api = {
        "title": info["title"],
        "description": info["description"],
        "version": DOCUMENT["openapi"],
        "base": server["url"],
        "url": url,
        "operations": _OPERATIONS,
        "schemas": _SCHEMAS,
    }
    return _TEMPLATE.render(api=api, version=program_version())


def operations() -> Iterator[Operation]:
    """Every one of the document, in its order."""
    for path, item in _object(DOCUMENT["paths"]).items():
        shared = _object(item).get("parameters", [])
        for method, described in _object(item).items():
            if method != "parameters":
                yield _operation(method, path, _object(described), cast("list[_Node]", shared))


def _operation(method: str, path: str, described: _Object, shared: list[_Node]) -> Operation:
    listed = [*shared, *cast("list[_Node]", described.get("parameters", []))]
    inputs = [_parameter(_resolved(each)) for each in listed]
    if "requestBody" in described:
        schema = _schema_of(_object(described["requestBody"]))
        inputs += [
            Field(field.name, field.values, field.meaning, field.required, "body")
            for field in _fields(_object(_object(_object(DOCUMENT["components"])["schemas"])[schema]))
        ]
    return Operation(
        str(described["operationId"]),
        method.upper(),
        path,
        str(described["summary"]),
        str(described.get("description", "")),
        described.get("security") != [],
        inputs,
        [_answer(status, _resolved(each)) for status, each in _object(described["responses"]).items()],
    )


def _parameter(described: _Object) -> Field:
    meaning, where = str(described.get("description", "")), str(described["in"])
    required = described.get("required") is True
    return Field(str(described["name"]), _values(_object(described["schema"])), meaning, required, where)


def _answer(status: str, described: _Object) -> Answer:
    return Answer(status, str(described["description"]), _schema_of(described))


def _schema_of(described: _Object) -> str:
    for media in _object(described.get("content", {})).values():
        reference = _object(_object(media)["schema"]).get("$ref")
        return str(reference).rpartition("/")[2] if reference else ""
    return ""


def _fields(schema: _Object) -> list[Field]:
    required = cast("list[_Node]", schema.get("required", []))
    return [
        Field(name, _values(_object(each)), str(_object(each).get("description", "")), name in required)
        for name, each in _object(schema.get("properties", {})).items()
    ]


def _values(schema: _Object) -> str:
    """`integer, 1 to 1000, default 100`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        kind = " | ".join(map(str, cast("list[_Node]", schema["enum"])))
    else:
        kinds = schema.get("type", "object")
        kind = " or ".join(map(str, kinds)) if isinstance(kinds, list) else str(kinds)
    low, high = schema.get("minimum"), schema.get("maximum")
    known = [kind]
    known += [str(schema["format"])] if "format" in schema else []
    known += [f"{low} to {high}"] if high is not None else [f"at least {low}"] if low is not None else []
    known += [f"default {schema['default']}"] if "default" in schema else []
    return ", ".join(known)


def _resolved(node: _Node) -> _Object:
    described = _object(node)
    if "$ref" not in described:
        return described
    found: _Node = DOCUMENT
    for part in str(described["$ref"]).removeprefix("#/").split("/"):
        found = _object(found)[part]
    return _object(found)


def _object(node: _Node) -> _Object:
    assert isinstance(node, Mapping)
    return node


_TEXT = _PATH.read_bytes()
_TEMPLATE = template("api.html")
_OPERATIONS = list(operations())
_SCHEMAS = [
    Schema(name, _fields(_object(each)))
    for name, each in _object(_object(DOCUMENT["components"])["schemas"]).items()
]
