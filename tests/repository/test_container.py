"""The Dockerfile and compose.yaml: what they name exists, and they keep to a few rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
INSTRUCTIONS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]


def of(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def copied() -> list[str]:
    sources = [rest.split()[:-1] for rest in of("COPY") if not rest.startswith("--from")]
    return [source for group in sources for source in group]


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists_and_reaches_the_build(source: str) -> None:
    assert (ROOT / source).exists()
    assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_every_package_is_copied() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(copied())


def test_images_are_pinned() -> None:
    images = [rest.split()[0] for rest in of("FROM")]
    images += [service["image"] for service in COMPOSE["services"].values() if "image" in service]
    assert all(re.search(r":\d+\.\d+", image) for image in images), images


def test_the_container_is_not_root_and_tells_its_health() -> None:
    assert of("USER")[-1] == "cidgate"
    assert of("HEALTHCHECK")
    assert DOCKERFILE.rindex("USER ") > DOCKERFILE.rindex("COPY ")


def test_compose_waits_for_healthy_services_and_keeps_its_volumes() -> None:
    services = COMPOSE["services"]
    for name, wait in services["gateway"]["depends_on"].items():
        assert wait["condition"] == "service_healthy"
        assert "healthcheck" in services[name]
    used = {
        volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])
    assert (ROOT / services["gateway"]["build"]).is_dir()


def test_compose_sets_only_variables_that_exist() -> None:
    from config.settings import variables

    assert set(COMPOSE["services"]["gateway"]["environment"]) <= set(variables())
