"""`GET /`: what this is and how to use it, for a person who opens the gateway's address."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.formats.pages import template


@dataclass(frozen=True, slots=True)
class Welcome:
    """`url` is how clients reach the gateway, without a trailing slash; `sample` is a CID that it has."""

    url: str
    version: str
    sample: str = "bafkqaaa"
    sample_name: str = ""


_ENDPOINTS = (
    ("GET", "/ipfs/{cid}/{path}", "a file, a directory page, or any format named by ?format="),
    ("GET", "/ipns/{name}/{path}", "the same behind an IPNS key or a DNSLink domain"),
    ("POST", "/ipfs/", "upload a file, a form, a CAR or a TAR; the answer has the CID"),
    ("PUT", "/ipfs/{cid}/{path}", "a new root with the body at that path"),
    ("DELETE", "/ipfs/{cid}", "stop keeping what you uploaded"),
    ("GET", "/api/v1/docs", "the files of your key, and the rest of the API"),
    ("GET", "/version", "which version runs here"),
    ("GET", "/healthz", "whether it runs; /readyz whether it can serve"),
)
_FORMATS = ("raw", "car", "tar", "dag-json", "dag-cbor", "json", "cbor", "ipns-record")


def render_welcome(welcome: Welcome) -> str:
    """The page as HTML."""
    return _TEMPLATE.render(welcome=welcome, endpoints=_ENDPOINTS, formats=_FORMATS)


def render_welcome_text(welcome: Welcome) -> str:
    """The same for a terminal."""
    endpoints = "\n".join(f"  {method:<7}{path:<22}{what}" for method, path, what in _ENDPOINTS)
    return (
        f"cidgate {welcome.version}: an IPFS gateway.\n\n"
        f"Read    curl -L {welcome.url}/ipfs/{welcome.sample}\n"
        f'Upload  curl -T photo.jpg -H "Authorization: Bearer $CIDGATE_KEY" {welcome.url}/ipfs/\n\n'
        f"{endpoints}\n"
    )


_TEMPLATE = template("welcome.html")
