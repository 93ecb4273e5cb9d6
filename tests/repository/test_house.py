"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "auth", "cache", "config", "ipld", "storage", "naming", "migrations")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
NAMES_OF_NOTHING = {"util", "utils", "helpers", "common", "misc", "manager", "service", "base"}

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_are_small_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= MAX_FILE_LINES
    assert path.stem not in NAMES_OF_NOTHING
    assert not text.strip() or ast.get_docstring(tree), "a module opens with a sentence"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


def test_the_tour_of_the_readme_names_every_module() -> None:
    readme = (ROOT / "README.md").read_text()
    named = {path.stem if path.stem != "__init__" else path.parent.name for path in MODULES}
    missing = sorted(module for module in named if f"`{module}" not in readme)
    assert not missing


def test_every_make_target_has_a_line_of_help() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("serve", "test", "check", "fix", "bench"):
        assert f"make {target} " in shown


def test_ci_and_hooks_name_what_exists() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for tool in ("ruff format", "ruff check", "mypy", "lint-imports"):
        assert tool in hooks
        assert tool in (ROOT / "Makefile").read_text()
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_pins_are_locked() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["embedded"]]
    runtime = (ROOT / "requirements.txt").read_text()
    everything = (ROOT / "requirements-dev.txt").read_text()
    for requirement in wanted:
        assert f"\n{requirement} " in runtime
    for requirement in [*wanted, *project["dependency-groups"]["dev"]]:
        # Extras stand for packages of their own there.
        plain = re.sub(r"\[.*?\]", "", requirement)
        assert f"\n{plain} " in everything
    assert runtime.count("--hash=") >= runtime.count("==")
