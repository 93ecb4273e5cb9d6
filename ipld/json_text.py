"""JSON as blocks hold it: UTF-8, nothing but one value, bounded in depth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NoReturn

from ipld.data_model import MAX_DEPTH, Value
from ipld.errors import MalformedBlock

Pairs = list[tuple[str, Value]]

# Every escape of a JSON text in turn; the group is half of a surrogate pair without its other half.
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def parse(
    block: bytes,
    codec: str,
    pairs: Callable[[Pairs], Value] = dict,
    floats: Callable[[str], float] = float,
) -> Value:
    """The value of a JSON text; MalformedBlock names the codec. `pairs` makes a value of each object."""
    try:
        text = block.decode("utf-8")
        value: Value = json.loads(
            text, object_pairs_hook=pairs, parse_float=floats, parse_constant=_no_constant
        )
    except MalformedBlock as error:
        raise MalformedBlock(f"{codec}: {error}") from error
    except RecursionError:
        raise _too_deep(codec) from None
    except ValueError as error:
        raise MalformedBlock(f"{codec}: {_reason(error)}") from error
    if "\\u" in text and any(match[1] for match in _ESCAPES.finditer(text)):
        raise MalformedBlock(f"{codec}: half of a surrogate pair is no character")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value, codec)
    return value


def _no_constant(name: str) -> NoReturn:
    raise MalformedBlock(f"{name} is not JSON")


def _reason(error: ValueError) -> str:
    # The text of UnicodeDecodeError and of others quotes what it was given.
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else "a number is too long"


def _too_deep(codec: str) -> MalformedBlock:
    return MalformedBlock(f"{codec}: more than {MAX_DEPTH} lists and maps inside each other")


def _check_depth(value: Value, codec: str) -> None:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise _too_deep(codec)
