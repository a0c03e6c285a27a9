"""``jsonlite`` agrees with ``json``."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import jsonlite

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_reads_what_json_writes_and_the_other_way_round(value: object) -> None:
    assert jsonlite.loads(json.dumps(value, indent=1)) == value
    assert json.loads(jsonlite.dumps(value)) == value


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", '{"a":1} x', "nul", "NaN", '"\x01"', '{"a" 1}'])
def test_refuses_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError):
        jsonlite.loads(text)


def test_refuses_values_that_json_has_no_word_for() -> None:
    with pytest.raises(TypeError):
        jsonlite.dumps({"a": object()})
    with pytest.raises(ValueError):
        jsonlite.dumps(float("nan"))


def test_keys_can_be_sorted() -> None:
    assert jsonlite.dumps({"b": 1, "a": {"d": 1, "c": 2}}, sort_keys=True) == '{"a":{"c":2,"d":1},"b":1}'
