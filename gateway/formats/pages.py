"""Pages made by the gateway itself: one template environment, one style, one content policy."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"

_STYLE = (_TEMPLATES / "style.css").read_text("utf-8")
_environment = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.globals["style"] = Markup(_STYLE)  # noqa: S704 - our own file

# Only the one style sheet, named by its hash: a page can load nothing, run nothing and be framed by nobody.
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
)


_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def _asset_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(_TEMPLATES.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# Changes whenever a page would look different, so that no cache keeps an old look alive.
ASSET_HASH = _asset_hash()


def template(name: str) -> Template:
    """A template, compiled."""
    return _environment.get_template(name)


def segment(name: str) -> str:
    """One path segment: unreserved characters and percent escapes only, so safe in HTML and in queries too.

    Upper-case hex, as the conformance suite compares it; a name that is no UTF-8 keeps its bytes.
    """
    return quote(name, safe="", errors="surrogateescape")


def visible(name: str) -> str:
    """A name as it may be shown: no control character hides the rest of it or turns it round."""
    return name if name.isprintable() else "".join(c if c.isprintable() else _REPLACEMENT for c in name)


def human_size(size: int) -> str:
    """A size as people read it: `1.4 MiB`."""
    if size < 1024:
        return f"{size} B"
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.1f} {_UNITS[unit]}" if value < 100 else f"{value:.0f} {_UNITS[unit]}"


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
