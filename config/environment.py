"""The process's environment, with a `.env` file of the working directory beneath it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from config.errors import SettingsError


def read_environment(cwd: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """For the command line alone; a variable of the environment wins over the file, unless it is empty."""
    path = cwd / ".env"
    if not path.is_file():
        return dict(environ)
    try:
        # Without interpolation: a `$` in a password is a `$`.
        filed = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} cannot be read: {error}"]) from error
    found = {name: value for name, value in filed.items() if value is not None}
    return found | {name: value for name, value in environ.items() if value or name not in found}
