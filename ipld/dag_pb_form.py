"""dag-pb nodes as values of the data model, and back (dag-pb spec, "Logical Format")."""

from __future__ import annotations

from ipld.cid import Cid
from ipld.dag_pb import PBLink, PBNode
from ipld.data_model import Value
from ipld.errors import MalformedBlock

MAX_TSIZE = 2**64 - 1


def to_form(node: PBNode) -> Value:
    """The node as a map; fields that it lacks are not there. MalformedBlock for a name that is not UTF-8."""
    links: list[Value] = [_link_to_form(link) for link in node.links]
    return {"Links": links} if node.data is None else {"Data": bytes(node.data), "Links": links}


def _link_to_form(link: PBLink) -> Value:
    form: dict[str, Value] = {"Hash": link.cid}
    if link.name is not None:
        form["Name"] = _utf8(link.name)
    if link.tsize is not None:
        form["Tsize"] = link.tsize
    return form


def from_form(form: Value) -> PBNode:
    """The node that a map means; MalformedBlock for every other value."""
    if not isinstance(form, dict) or not form.keys() <= {"Data", "Links"}:
        raise MalformedBlock("dag-pb: a node is a map of Data and Links")
    data, links = form.get("Data"), form.get("Links")
    if not isinstance(data, bytes) and (data is not None or "Data" in form):
        raise MalformedBlock("dag-pb: Data is bytes")
    if not isinstance(links, list):
        raise MalformedBlock("dag-pb: Links is a list")
    made = tuple(_link_from_form(link) for link in links)
    if [link.name or "" for link in made] != sorted(link.name or "" for link in made):
        raise MalformedBlock("dag-pb: Links are sorted by Name")
    return PBNode(made, None if data is None else memoryview(data))


def _link_from_form(form: Value) -> PBLink:
    if not isinstance(form, dict) or not form.keys() <= {"Hash", "Name", "Tsize"}:
        raise MalformedBlock("dag-pb: a link is a map of Hash, Name and Tsize")
    cid, name, tsize = form.get("Hash"), form.get("Name"), form.get("Tsize")
    if not isinstance(cid, Cid):
        raise MalformedBlock("dag-pb: a link has a Hash")
    if not isinstance(name, str) and (name is not None or "Name" in form):
        raise MalformedBlock("dag-pb: Name is a string")
    if tsize is None and "Tsize" not in form:
        return PBLink(cid, None if name is None else _utf8(name), None)
    if not isinstance(tsize, int) or isinstance(tsize, bool) or not 0 <= tsize <= MAX_TSIZE:
        raise MalformedBlock("dag-pb: Tsize is an integer of 64 bits")
    return PBLink(cid, None if name is None else _utf8(name), tsize)


def _utf8(name: str) -> str:
    # Names that are not UTF-8 are kept as lone surrogates, and those are not in the data model.
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedBlock("dag-pb: a Name is not UTF-8") from error
    return name
