"""What is wrong with the settings, all at once, and never with a secret in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pydantic import ValidationError

_SHOWN_CHARACTERS = 100


class SettingsError(Exception):
    """Nothing may start; `problems` has one sentence for each variable."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(("The settings are wrong:", *(f"  {problem}" for problem in problems))))
        self.problems = tuple(problems)


def problems_of(error: ValidationError, given: Mapping[str, str], secrets: Collection[str]) -> list[str]:
    found: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_context=False):
        variable = str(detail["loc"][0]).upper()
        inner = ".".join(str(part) for part in detail["loc"][1:] if isinstance(part, str | int))
        message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        value = "" if variable in secrets else f"={_shown(given.get(variable))}"
        place = f" (at {inner})" if inner and variable not in secrets and "-" not in inner else ""
        found.setdefault(variable, f"{variable}{value}{place}: {message}")
    return list(found.values())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
