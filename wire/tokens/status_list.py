"""Which credentials are suspended: one bit each, compressed, signed by their issuer.

The idea and the claims are those of the Token Status List (draft-ietf-oauth-status-list, sections 4 and 5):
the bit of index i is bit i % 8 of byte i // 8, least significant first, the bytes are zlib's. It travels as
a COSE_Sign1 of type 65005 in our profile, and not as the draft's own, so that there is one envelope to audit.
There is one list to an issuer, so no claim says which list this is.

An index beyond the end of a list says nothing, so it counts as suspended; a list that is made here has all
the bits there can be, which costs some thirty bytes while few are set.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wire import es256
from wire.errors import EncodingError, TokenError
from wire.tokens.cbor import dump_cbor, expect_bytes_up_to, expect_int, expect_map, parse_cbor
from wire.tokens.credential import STATUS_INDEX_MAX
from wire.tokens.sign1 import STATUS_LIST_TYPE, Sign1, parse_sign1_of, seal_sign1, verify_sign1

STATUS_BYTES_MAX: Final = (STATUS_INDEX_MAX + 1) // 8
STATUS_LIST_BYTES_MAX: Final = STATUS_BYTES_MAX + 256
"""Longest token: the bits as they are, where they can't be compressed, and what is around them."""
TTL_S_MAX: Final = 7 * 24 * 3_600

_TIME_S_MAX: Final = (1 << 32) - 1
_ISSUED: Final = 6
_STATUS_LIST: Final = 65533
_TTL: Final = 65534
"""CWT claims iat (RFC 8392), status_list and ttl (draft-ietf-oauth-status-list, section 5.2)."""
_BITS: Final = "bits"
_LIST: Final = "lst"
_COMPRESSION: Final = 9
_WHOLE_STREAM_BYTES_MAX: Final = STATUS_BYTES_MAX + 128
"""zlib's longest: eleven bytes, and five more for every block of 16 KiB, above what goes in."""


@dataclass(frozen=True, slots=True)
class StatusList:
    """The state of every credential at one moment."""

    issued_s: int
    """Unix seconds: what the list's age is counted from."""
    ttl_s: int
    """After so many seconds a newer one should be fetched; how old one may be used is the terminal's rule."""
    bits: bytes
    """1 to STATUS_BYTES_MAX bytes."""

    def is_suspended(self, index: int) -> bool:
        """Say whether a credential's bit is set; an index that the list does not reach counts as set."""
        assert index >= 0, "an index of Python's from the end would be another credential's"
        position, bit = divmod(index, 8)
        return position >= len(self.bits) or bool(self.bits[position] >> bit & 1)


def make_status_list(issued_s: int, ttl_s: int, suspended: Iterable[int]) -> StatusList:
    """Make a list in which these indexes are set and all others up to STATUS_INDEX_MAX are clear."""
    bits = bytearray(STATUS_BYTES_MAX)
    for index in suspended:
        assert 0 <= index <= STATUS_INDEX_MAX, "no credential has such an index"
        bits[index // 8] |= 1 << index % 8
    return StatusList(issued_s, ttl_s, bytes(bits))


def mint_status_list(status_list: StatusList, issuer_key: es256.PrivateKey) -> bytes:
    """Sign a list; at most STATUS_LIST_BYTES_MAX bytes, whatever it says."""
    compressed = zlib.compress(status_list.bits, _COMPRESSION)
    payload = {
        _ISSUED: status_list.issued_s,
        _STATUS_LIST: {_BITS: 1, _LIST: compressed},
        _TTL: status_list.ttl_s,
    }
    return seal_sign1(dump_cbor(payload), STATUS_LIST_TYPE, issuer_key)


def parse_status_list(data: bytes) -> Sign1:
    """Read a list as far as its issuer's key id and signature.

    Raises:
        TokenError: `token_invalid`; longer than STATUS_LIST_BYTES_MAX, not our profile, or another type.
    """
    return parse_sign1_of(data, STATUS_LIST_TYPE, bytes_max=STATUS_LIST_BYTES_MAX)


def verify_status_list(token: Sign1, issuer_key: es256.PublicKey) -> StatusList:
    """Return the list if the issuer signed it; whether it is young enough is not judged here.

    Args:
        token: what `parse_status_list` returned.
        issuer_key: the key that `token.key_id` names.

    Raises:
        TokenError: `token_invalid`; forged, of another type, or bits that unfold beyond their bound.
    """
    if token.token_type != STATUS_LIST_TYPE:
        raise TokenError("this is no status list")
    payload = verify_sign1(token, issuer_key)
    try:
        claims = expect_map(
            parse_cbor(payload, bytes_max=STATUS_LIST_BYTES_MAX), (_ISSUED, _STATUS_LIST, _TTL)
        )
        content = expect_map(claims[_STATUS_LIST], (_BITS, _LIST))
        expect_int(content[_BITS], 1, 1)
        return StatusList(
            issued_s=expect_int(claims[_ISSUED], 0, _TIME_S_MAX),
            ttl_s=expect_int(claims[_TTL], 1, TTL_S_MAX),
            bits=_inflate(expect_bytes_up_to(content[_LIST], _WHOLE_STREAM_BYTES_MAX)),
        )
    except EncodingError as error:
        raise TokenError(f"claims: {error}") from None


def _inflate(compressed: bytes) -> bytes:
    """Unfold a whole zlib stream, and never more than STATUS_BYTES_MAX of it."""
    stream = zlib.decompressobj()
    try:
        # One byte more than may be there, to tell the longest list from one that goes on.
        bits = stream.decompress(compressed, STATUS_BYTES_MAX + 1)
    except zlib.error:
        raise EncodingError("the list is not compressed as agreed") from None
    if not stream.eof or stream.unused_data or not 1 <= len(bits) <= STATUS_BYTES_MAX:
        raise EncodingError("the list is cut short, has something behind it, or is too long")
    return bits
