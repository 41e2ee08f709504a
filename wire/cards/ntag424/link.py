"""The one-time link of an NTAG 424 DNA card: Secure Unique NFC (SUN), written anew at every tap.

The card replaces two placeholders of its NDEF URL: `e`, its UID and read counter encrypted under the
batch's meta key, and `c`, a truncated CMAC under the card's own file key. The link proves that this card
was read once more; it is bound to no amount, no till and no time (protocol section 3b).

Sources: NXP NT4H2421Gx data sheet rev 3.0, section 9.3; NXP AN12196 rev 1.8, section 3.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES128

from wire.cards.ntag424.aes_cmac import aes_cmac
from wire.cards.ntag424.keys import UID_BYTES, check_card_uid
from wire.errors import EncodingError, TokenError

PICC_DATA_BYTES: Final = 16
MAC_BYTES: Final = 8
PADDING_BYTES: Final = 5
COUNTER_MAX: Final = 0xFFFFFF
URL_CHARS_MAX: Final = 255

_UID_AND_COUNTER: Final = 0xC7
"""PICCDataTag: UID mirrored, counter mirrored, UID of 7 bytes (data sheet table 21)."""
_COUNTER_BYTES: Final = 3
_SESSION_MAC_PREFIX: Final = bytes.fromhex("3CC300010080")
"""Label, counter and length of SV2, which derives the MAC's session key (data sheet section 9.3.9.1)."""
# The chip writes capitals, and our cards carry nothing after the MAC: one tap has one spelling.
_SUN_URL: Final = re.compile(r"https://[!-~]+\?e=([0-9A-F]{32})&c=([0-9A-F]{16})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SunLink:
    """The two dynamic parameters of a link, as bytes."""

    picc_data: bytes
    """16 bytes, `e`."""
    mac: bytes
    """8 bytes, `c`."""


@dataclass(frozen=True, slots=True)
class PiccData:
    """What `e` says when opened; nothing in it is proven until the MAC holds."""

    uid: bytes
    counter: int


@dataclass(frozen=True, slots=True)
class SunTap:
    """A verified link: this card was read for the `counter`th time."""

    uid: bytes
    counter: int


def parse_sun_url(url: str) -> SunLink:
    """Take the dynamic parameters out of a card's URL; whose host it names is not looked at.

    Raises:
        EncodingError: it is not `https://…?e=<32 hex>&c=<16 hex>` in capitals, or too long.
    """
    match = _SUN_URL.fullmatch(url) if len(url) <= URL_CHARS_MAX else None
    if match is None:
        raise EncodingError("this is no link of an NTAG 424 DNA card of ours")
    return SunLink(bytes.fromhex(match.group(1)), bytes.fromhex(match.group(2)))


def dump_sun_url(url_base: str, link: SunLink) -> str:
    """Write a link behind a base such as `https://pay.example.com/t`; the inverse of `parse_sun_url`.

    Raises:
        EncodingError: the result would be none that `parse_sun_url` accepts.
    """
    url = f"{url_base}?e={link.picc_data.hex().upper()}&c={link.mac.hex().upper()}"
    if parse_sun_url(url) != link:
        raise EncodingError("a base holds no link of its own")
    return url


def verify_sun_link(
    link: SunLink, *, meta_key: bytes, file_key_of: Callable[[bytes], bytes], mac_input: bytes = b""
) -> SunTap:
    """Verify a link and return whose tap it is and which one.

    Promises that the card that holds the file key made this link, at this counter. Does not promise that
    it is fresh: the caller spends the counter with one conditional statement.

    Args:
        link: as parsed.
        meta_key: 16 bytes, shared by a batch. Under another batch's key this raises; try the next.
        file_key_of: returns the file key of a UID (`diversify_file_key`).
        mac_input: the ASCII between SDMMACInputOffset and SDMMACOffset; empty for our cards, whose two
            offsets are equal.

    Raises:
        TokenError: `token_invalid`; wrong lengths, wrong keys or a forged link.

    Source: data sheet sections 9.3.4 and 9.3.8; AN12196 table 5.
    """
    picc = read_picc_data(link.picc_data, meta_key)
    expected = sun_mac(file_key_of(picc.uid), picc, mac_input)
    if not hmac.compare_digest(expected, link.mac):
        raise TokenError("the link's MAC does not hold")
    return SunTap(picc.uid, picc.counter)


def read_picc_data(picc_data: bytes, meta_key: bytes) -> PiccData:
    """Open `e`; the result is a claim, not a proof.

    Raises:
        TokenError: `token_invalid`; not 16 bytes, or no UID with counter under this key.
    """
    if len(picc_data) != PICC_DATA_BYTES:
        raise TokenError(f"PICC data has {PICC_DATA_BYTES} bytes")
    decryptor = _cbc(meta_key).decryptor()
    plain = decryptor.update(picc_data) + decryptor.finalize()
    if plain[0] != _UID_AND_COUNTER:
        raise TokenError("the PICC data is not of this batch")
    uid, counter_lsb = plain[1 : 1 + UID_BYTES], plain[1 + UID_BYTES : 1 + UID_BYTES + _COUNTER_BYTES]
    return PiccData(uid, int.from_bytes(counter_lsb, "little"))


def seal_picc_data(picc: PiccData, padding: bytes, meta_key: bytes) -> bytes:
    """Make `e`, as the chip does, from five random bytes; the inverse of `read_picc_data`."""
    assert len(padding) == PADDING_BYTES, "PICC data is padded with 5 bytes"
    encryptor = _cbc(meta_key).encryptor()
    plain = bytes((_UID_AND_COUNTER,)) + _uid_and_counter(picc) + padding
    return encryptor.update(plain) + encryptor.finalize()


def sun_mac(file_key: bytes, picc: PiccData, mac_input: bytes = b"") -> bytes:
    """Make `c`: the odd bytes of a CMAC under the session key of this UID and counter.

    Source: data sheet sections 9.3.8 (truncation) and 9.3.9 (session key).
    """
    session_key = aes_cmac(file_key, _SESSION_MAC_PREFIX + _uid_and_counter(picc))
    return aes_cmac(session_key, mac_input)[1::2]


def _uid_and_counter(picc: PiccData) -> bytes:
    return check_card_uid(picc.uid) + picc.counter.to_bytes(_COUNTER_BYTES, "little")


def _cbc(meta_key: bytes) -> Cipher[modes.CBC]:
    # The chip prescribes a zero IV; the random padding makes every plaintext a new one.
    return Cipher(AES128(meta_key), modes.CBC(bytes(PICC_DATA_BYTES)))
