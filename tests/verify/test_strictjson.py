"""Strict JSON: what it takes has the value that Python's json gives; what two readers could read differently is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.verify import errors
from kubewright.verify.strictjson import Limits, is_integer, is_version, loads

SMALL = Limits(size=1000, string=12, depth=3, values=20)

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=30,
)


@settings(deadline=None)
@given(values, st.booleans())
def test_valid_documents_are_read_as_json_reads_them(value: Any, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert loads(data) == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text('[]{}",:\\u0d8eE+-.1truefalsn N', max_size=40).map(str.encode))
def test_any_bytes_give_a_value_of_jsons_or_a_json_error(data: bytes) -> None:
    try:
        value = loads(data)
    except errors.JsonError:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'{"a":1,"a":1}', errors.DuplicateKeyError),
        (b'{"a":1,"\\u0061":2}', errors.DuplicateKeyError),
        (b'[{"x":{"a":1,"a":2}}]', errors.DuplicateKeyError),
        (b"[NaN]", errors.JsonNumberError),
        (b"Infinity", errors.JsonNumberError),
        (b"[-Infinity]", errors.JsonNumberError),
        (b"[1e999]", errors.JsonNumberError),
        (b"[" + b"9" * 900 + b"]", errors.JsonNumberError),
        (b"[[[[1]]]]", errors.JsonDepthError),
        (b"[" * 18, errors.JsonDepthError),
        (b'{"a":' * 18 + b"1" + b"}" * 9, errors.JsonDepthError),
        (b'["1234567890123"]', errors.JsonSizeError),
        (b'{"1234567890123":1}', errors.JsonSizeError),
        (b"[" + b"1," * 30 + b"1]", errors.JsonSizeError),
        (b" " * 1001, errors.JsonSizeError),
        (b"\xff", errors.JsonEncodingError),
        (b'["\xc0\x80"]', errors.JsonEncodingError),
        (b'["\xed\xa0\x80"]', errors.JsonEncodingError),
        (b"\xef\xbb\xbf[]", errors.JsonEncodingError),
        ('["a"]'.encode("utf-16"), errors.JsonEncodingError),
        (b'["\\ud800"]', errors.JsonEncodingError),
        (b'{"\\udc00":1}', errors.JsonEncodingError),
        (b"", errors.JsonError),
        (b"[1,]", errors.JsonError),
        (b"[01]", errors.JsonError),
        (b"[1] [2]", errors.JsonError),
        (b'["a\nb"]', errors.JsonError),
        (b'["a', errors.JsonError),
        (b"]", errors.JsonError),
        (b"{'a':1}", errors.JsonError),
        (b"[1]\0", errors.JsonError),
    ],
)
def test_what_is_refused(data: bytes, error: type[errors.JsonError]) -> None:
    with pytest.raises(errors.JsonError) as caught:
        loads(data, SMALL, "bundle.json")
    assert type(caught.value) is error
    assert caught.value.message.startswith("bundle.json: ")


@pytest.mark.parametrize(
    "data", [b"[[[1]]]", b'["123456789012"]', b'["[[[[{{{"]', b'["\\ud83d\\ude00"]', b"[" + b"1," * 18 + b"1]"]
)
def test_what_is_just_within_the_limits(data: bytes) -> None:
    assert loads(data, SMALL) == json.loads(data)


@pytest.mark.parametrize("data", [b"true", b"1.0", b'"1"', b"[1]", b"2", b"null"])
def test_a_version_is_a_number_and_nothing_that_python_takes_for_one(data: bytes) -> None:
    assert is_version(1, 1)
    assert not is_version(loads(data), 1)
    assert is_integer(loads(data)) == (data == b"2")
