"""`GET /`: what this is and how to use it, for a person who opens the gateway's address."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.formats.pages import template


@dataclass(frozen=True, slots=True)
class Welcome:
    """`url` is how clients reach the gateway, without a trailing slash; `sample` is a CID that it has.
    `verifiable_only` is whether this host gives out nothing that a client would have to believe."""

    url: str
    version: str
    sample: str = "bafkqaaa"
    verifiable_only: bool = False

    @property
    def read(self) -> str:
        """A call that works when pasted."""
        url = f"{self.url}/ipfs/{self.sample}"
        return f'curl -L "{url}?format=raw"' if self.verifiable_only else f"curl -L {url}"

    @property
    def endpoints(self) -> tuple[tuple[str, str, str], ...]:
        """Methods, paths, and what they do."""
        return (_VERIFIABLE if self.verifiable_only else _READS) + _OTHERS

    @property
    def formats(self) -> tuple[str, ...]:
        """Of `?format=`."""
        return _VERIFIABLE_FORMATS if self.verifiable_only else _FORMATS


_READS = (
    ("GET", "/ipfs/{cid}/{path}", "a file, a directory page, or any format named by ?format="),
    ("GET", "/ipns/{name}/{path}", "the same behind an IPNS key or a DNSLink domain"),
)
_VERIFIABLE = (
    ("GET", "/ipfs/{cid}?format=raw", "a block, to be checked against its CID"),
    ("GET", "/ipfs/{cid}/{path}?format=car", "the blocks of a path, and what lies at its end"),
)
_OTHERS = (
    ("POST", "/ipfs/", "upload a file, a form, a CAR or a TAR; the answer has the CID"),
    ("PUT", "/ipfs/{cid}/{path}", "a new root with the body at that path"),
    ("DELETE", "/ipfs/{cid}", "stop keeping what you uploaded"),
    ("GET", "/api/v1/docs", "the files of your key, and the rest of the API"),
    ("GET", "/version", "which version runs here"),
    ("GET", "/healthz", "whether it runs; /readyz whether it can serve"),
)
_FORMATS = ("raw", "car", "tar", "zip", "dir-json", "dag-json", "dag-cbor", "json", "cbor", "ipns-record")
_VERIFIABLE_FORMATS = ("raw", "car", "ipns-record")


def render_welcome(welcome: Welcome) -> str:
    """The page as HTML."""
    return _TEMPLATE.render(welcome=welcome)


def render_welcome_text(welcome: Welcome) -> str:
    """The same for a terminal."""
    endpoints = "\n".join(f"  {method:<7}{path:<30}{what}" for method, path, what in welcome.endpoints)
    return (
        f"cidgate {welcome.version}: an IPFS gateway.\n\n"
        f"Read    {welcome.read}\n"
        f'Upload  curl -T photo.jpg -H "Authorization: Bearer $CIDGATE_KEY" {welcome.url}/ipfs/\n\n'
        f"{endpoints}\n"
    )


_TEMPLATE = template("welcome.html")
