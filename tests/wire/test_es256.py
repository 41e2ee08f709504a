"""The one signature: deterministic, 64 bytes, P-256 only."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from wire import es256
from wire.errors import WireError

# RFC 6979, appendix A.2.5: curve P-256, SHA-256.
_RFC_6979_KEY = ec.derive_private_key(
    0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1()
)
_RFC_6979_SAMPLE = (
    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
)
_RFC_6979_TEST = (
    "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367"
    "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083"
)
_PUBLIC = _RFC_6979_KEY.public_key()


@pytest.mark.parametrize(
    ("message", "signature_hex"), [(b"sample", _RFC_6979_SAMPLE), (b"test", _RFC_6979_TEST)]
)
def test_signing_gives_the_bytes_of_rfc_6979(message: bytes, signature_hex: str) -> None:
    assert es256.sign(_RFC_6979_KEY, message).hex().upper() == signature_hex
    es256.verify(_PUBLIC, bytes.fromhex(signature_hex), message)


@given(st.binary(max_size=200))
def test_what_is_signed_verifies_and_nothing_else(message: bytes) -> None:
    signature = es256.sign(_RFC_6979_KEY, message)
    es256.verify(_PUBLIC, signature, message)
    with pytest.raises(es256.SignatureMismatch):
        es256.verify(_PUBLIC, signature, message + b"x")


@given(st.binary(max_size=80))
def test_any_bytes_as_a_signature_are_a_mismatch(signature: bytes) -> None:
    with pytest.raises(es256.SignatureMismatch):
        es256.verify(_PUBLIC, signature, b"sample")


@pytest.mark.parametrize("length", [0, 63, 65, 70, 128])
def test_a_signature_of_another_length_is_a_mismatch(length: int) -> None:
    with pytest.raises(es256.SignatureMismatch):
        es256.verify(_PUBLIC, (bytes.fromhex(_RFC_6979_SAMPLE) * 2)[:length], b"sample")


def test_a_public_key_comes_back_from_its_compressed_point() -> None:
    compressed = es256.dump_public_key(_PUBLIC)
    # RFC 6979 prints x as 60FED4BA…; y is odd, hence 03.
    assert (
        compressed.hex()
        .upper()
        .startswith("0360FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6")
    )
    assert es256.dump_public_key(es256.load_public_key(compressed)) == compressed


@given(st.binary(max_size=70))
def test_any_bytes_are_a_public_key_or_a_typed_error(raw: bytes) -> None:
    try:
        key = es256.load_public_key(raw)
    except WireError:
        return
    assert es256.dump_public_key(key) == raw


@given(st.binary(min_size=32, max_size=32), st.sampled_from([2, 3]))
def test_any_coordinate_is_a_point_or_a_typed_error(x: bytes, sign: int) -> None:
    try:
        key = es256.load_public_key(bytes((sign,)) + x)
    except WireError:
        return
    assert es256.dump_public_key(key) == bytes((sign,)) + x


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x02" + bytes(31),
        b"\x02" + bytes(33),
        b"\x04" + bytes(32),
        b"\x00" * 33,
        b"\x02" + b"\xff" * 32,
    ],
    ids=lambda raw: f"{len(raw)} bytes, {raw[:1].hex()}",
)
def test_what_is_no_compressed_point_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        es256.load_public_key(raw)


def test_an_uncompressed_point_is_refused() -> None:
    numbers = _PUBLIC.public_numbers()
    with pytest.raises(WireError):
        es256.load_public_key(b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"))


def test_key_ids_have_eight_bytes_and_tell_keys_apart(
    device_key: es256.PrivateKey, other_key: es256.PrivateKey
) -> None:
    first, second = (es256.key_id_of(key.public_key()) for key in (device_key, other_key))
    assert len(first) == len(second) == es256.KEY_ID_BYTES
    assert first != second


def test_a_key_of_another_curve_is_our_own_mistake() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(AssertionError):
        es256.sign(key, b"")
    with pytest.raises(AssertionError):
        es256.verify(key.public_key(), bytes(64), b"")
