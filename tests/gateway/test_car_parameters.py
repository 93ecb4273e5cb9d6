"""Parameters of a CAR (IPIP-0402 and trustless gateway spec): what they mean, and which mean nothing."""

from __future__ import annotations

import pytest

from gateway.car_parameters import ByteRange, CarParameters, Scope, parse_car_parameters
from gateway.refusals import BadRequest


@pytest.mark.parametrize(
    ("text", "size", "span", "outside"),
    [
        ("0:*", 10, (0, 10), False),
        ("0:0", 10, (0, 1), False),
        ("3:5", 10, (3, 6), False),
        ("3:99", 10, (3, 10), False),
        ("4:9", 5, (4, 5), False),
        ("0:-1", 5, (0, 5), False),
        ("-3:*", 10, (7, 10), False),
        ("0:9223372036854775807", 10, (0, 10), False),
        ("-99:*", 10, (0, 10), False),
        ("-9:0", 5, (0, 1), False),
        ("-99:-3", 10, (0, 8), False),
        ("2:-3", 10, (2, 8), False),
        ("-5:-3", 10, (5, 8), False),
        ("9:9", 10, (9, 10), False),
        ("10:*", 10, None, True),
        ("10:12", 10, None, True),
        ("-20:-11", 10, None, True),
        ("0:-11", 10, None, True),
        ("6:-6", 10, None, False),
        ("3:-4", 5, None, False),
        ("-3:2", 10, None, False),
    ],
)
def test_byte_ranges(text: str, size: int, span: tuple[int, int] | None, outside: bool) -> None:
    wanted = parse_car_parameters({"entity-bytes": text}, {}).bytes
    assert wanted is not None
    assert (wanted.within(size), wanted.is_outside(size)) == (span, outside)


def test_a_file_of_no_bytes_has_no_range() -> None:
    assert ByteRange(0, None).within(0) is None


@pytest.mark.parametrize(
    ("query", "accept", "meant"),
    [
        ({}, {}, CarParameters()),
        ({"entity-bytes": "1:*"}, {}, CarParameters(Scope.ENTITY, ByteRange(1, None))),
        ({"entity-bytes": "1:2", "dag-scope": "all"}, {}, CarParameters(Scope.ALL, ByteRange(1, 2))),
        # The query counts before the media type.
        ({"car-dups": "n"}, {"dups": "y"}, CarParameters()),
        ({}, {"dups": "y", "order": "unk", "version": "1"}, CarParameters(duplicates=True)),
    ],
)
def test_parameters(query: dict[str, str], accept: dict[str, str], meant: CarParameters) -> None:
    assert parse_car_parameters(query, accept) == meant


NO_RANGES = [
    "", ":", "1", "5", "1:", ":1", "*:1", "1:2:3", "a:b", "5:2", "5:3", "-1:-5", "-3:-5", "١:2",
    "9" * 19 + ":*", "+1:2",
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ({name: value}, {})
        for name in ("dag-scope", "car-version", "car-order", "car-dups")
        for value in ("", "2", "some", "bfs", "maybe")
    ]
    + [({}, {"version": "2"}), ({}, {"order": "bfs"}), ({}, {"dups": "yes"})]
    + [({"entity-bytes": text}, {}) for text in NO_RANGES],
)
def test_parameters_that_mean_nothing(query: dict[str, str], accept: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        parse_car_parameters(query, accept)
