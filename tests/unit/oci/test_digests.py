import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import InvalidArgument, Unsupported
from rootless.oci import digests


@given(st.lists(st.binary(max_size=100)))
def test_hasher_agrees_with_hashlib(chunks):
    hasher = digests.Hasher()
    for chunk in chunks:
        hasher.update(chunk)
    whole = b"".join(chunks)
    assert hasher.digest == "sha256:" + hashlib.sha256(whole).hexdigest() == digests.sha256_bytes(whole)
    assert hasher.size == len(whole)


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "g" * 64, "sha256:" + "A" * 64, "a" * 64, "sha256:../" + "a" * 61, "md5:" + "a" * 32],
)
def test_refuses_malformed_digests(text):
    assert not digests.is_valid(text)
    with pytest.raises(InvalidArgument, match="invalid digest"):
        digests.validate(text)


def test_refuses_other_algorithms_as_unsupported():
    with pytest.raises(Unsupported):
        digests.validate("sha512:" + "a" * 128)


def test_chain_ids_follow_the_specification():
    first, second, third = (digests.sha256_bytes(name) for name in (b"a", b"b", b"c"))
    two = "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    three = "sha256:" + hashlib.sha256(f"{two} {third}".encode()).hexdigest()
    assert digests.chain_ids([first, second, third]) == [first, two, three]
    assert digests.chain_ids([]) == []


def test_empty_constant_is_the_digest_of_nothing():
    assert digests.sha256_bytes(b"") == digests.EMPTY
