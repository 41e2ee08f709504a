"""EV2 secure messaging: session keys, the command counter, and what they make of commands and answers.

A session is a value: whoever has sent a command goes on with `counted()`. Both ends use this module, the
gateway that makes commands and the simulated chip that judges them; the vectors hold it to NXP's own words.

Source: NXP NT4H2421Gx data sheet rev 3.0, section 9.1; NXP AN12196 rev 1.8, section 5.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES128

from wire.cards.ntag424.aes_cmac import aes_cmac
from wire.errors import EncodingError

BLOCK_BYTES: Final = 16
RANDOM_BYTES: Final = 16
"""Of RndA and RndB."""
TRANSACTION_ID_BYTES: Final = 4
MAC_BYTES: Final = 8
COUNTER_MAX: Final = 0xFFFF

_ENCRYPTION_LABEL: Final = bytes.fromhex("A55A00010080")
_MAC_LABEL: Final = bytes.fromhex("5AA500010080")
"""Label, counter and length of the session vectors (section 9.1.7)."""
_COMMAND_IV_LABEL: Final = bytes.fromhex("A55A")
_ANSWER_IV_LABEL: Final = bytes.fromhex("5AA5")
"""Of the initialisation vectors (section 9.1.4)."""
_PADDING_BEGIN: Final = b"\x80"


class CommMode(Enum):
    """How a command and its answer are protected (section 8.2.3.5)."""

    PLAIN = "plain"
    MAC = "mac"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The two keys of one authentication, 16 bytes each."""

    encryption: bytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class SecureSession:
    """What both ends know after an authentication."""

    keys: SessionKeys
    transaction_id: bytes
    """4 bytes, drawn by the chip."""
    command_counter: int = 0
    """Commands carried out under it, 0 to COUNTER_MAX."""

    def counted(self) -> SecureSession:
        """Return the session after one more command."""
        return replace(self, command_counter=self.command_counter + 1)


def derive_session_keys(key: bytes, rnd_a: bytes, rnd_b: bytes) -> SessionKeys:
    """Derive the session's keys from the card's key and the two random numbers, 16 bytes each.

    Source: section 9.1.7. RndA[15] is its first byte as transmitted.
    """
    mixed = bytes(a ^ b for a, b in zip(rnd_a[2:8], rnd_b[0:6], strict=True))
    context = rnd_a[0:2] + mixed + rnd_b[6:16] + rnd_a[8:16]
    return SessionKeys(aes_cmac(key, _ENCRYPTION_LABEL + context), aes_cmac(key, _MAC_LABEL + context))


def short_mac(key: bytes, message: bytes) -> bytes:
    """Return the eight bytes of a CMAC that travel: every second one (section 9.1.3)."""
    return aes_cmac(key, message)[1::2]


def protect_command(
    session: SecureSession, instruction: int, header: bytes, data: bytes, mode: CommMode
) -> bytes:
    """Return the data field of a command under the session as it stands.

    Args:
        session: with the counter of before the command.
        instruction: the command code, INS.
        header: what stays readable, such as a key number.
        data: what is protected.
        mode: of this command.
    """
    if mode is CommMode.PLAIN:
        return header + data
    if mode is CommMode.FULL and data:
        data = encrypt(session.keys.encryption, pad(data), _command_iv(session))
    return header + data + _command_mac(session, instruction, header + data)


def open_command(
    session: SecureSession, instruction: int, field: bytes, header_bytes: int, mode: CommMode
) -> bytes:
    """Return the data of a command, as the chip does; the inverse of `protect_command`.

    Raises:
        EncodingError: MAC or padding is wrong, or something is missing.
    """
    if mode is CommMode.PLAIN:
        return field[header_bytes:]
    protected, mac = _split_mac(field)
    if len(protected) < header_bytes or not hmac.compare_digest(
        mac, _command_mac(session, instruction, protected)
    ):
        raise EncodingError("the command's MAC does not hold")
    data = protected[header_bytes:]
    if mode is CommMode.MAC or not data:
        return data
    return unpad(decrypt(session.keys.encryption, data, _command_iv(session)))


def protect_answer(session: SecureSession, status: int, data: bytes, mode: CommMode) -> bytes:
    """Return the data field of an answer, as the chip does.

    Args:
        session: with the counter of after the command.
        status: the second status byte, 00 for success.
        data: what is answered.
        mode: of this command.
    """
    if mode is CommMode.PLAIN:
        return data
    if mode is CommMode.FULL and data:
        data = encrypt(session.keys.encryption, pad(data), _answer_iv(session))
    return data + _answer_mac(session, status, data)


def open_answer(session: SecureSession, status: int, field: bytes, mode: CommMode) -> bytes:
    """Return the data of an answer; the inverse of `protect_answer`.

    Raises:
        EncodingError: the chip that holds the session's keys did not make this answer to this command.
    """
    if mode is CommMode.PLAIN:
        return field
    data, mac = _split_mac(field)
    if not hmac.compare_digest(mac, _answer_mac(session, status, data)):
        raise EncodingError("the answer's MAC does not hold")
    if mode is CommMode.MAC or not data:
        return data
    return unpad(decrypt(session.keys.encryption, data, _answer_iv(session)))


def encrypt(key: bytes, plain: bytes, iv: bytes = bytes(BLOCK_BYTES)) -> bytes:
    """Encrypt whole blocks by AES-128-CBC; an authentication uses the zero IV (section 9.1.4)."""
    encryptor = Cipher(AES128(key), modes.CBC(iv)).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def decrypt(key: bytes, secret: bytes, iv: bytes = bytes(BLOCK_BYTES)) -> bytes:
    """Decrypt whole blocks; the inverse of `encrypt`.

    Raises:
        EncodingError: not a whole number of blocks.
    """
    if len(secret) % BLOCK_BYTES:
        raise EncodingError("a cryptogram consists of whole blocks")
    decryptor = Cipher(AES128(key), modes.CBC(iv)).decryptor()
    return decryptor.update(secret) + decryptor.finalize()


def pad(data: bytes) -> bytes:
    """Append 80 and zeros up to whole blocks, at least one byte (ISO/IEC 9797-1, method 2).

    >>> pad(bytes(15)).hex()
    '00000000000000000000000000000080'
    """
    return data + _PADDING_BEGIN + bytes(-(len(data) + 1) % BLOCK_BYTES)


def unpad(padded: bytes) -> bytes:
    """Take the padding off again; the inverse of `pad`.

    Raises:
        EncodingError: it is no such padding, or longer than a block.
    """
    data = padded.rstrip(b"\x00")
    if not data.endswith(_PADDING_BEGIN) or len(padded) - len(data) >= BLOCK_BYTES:
        raise EncodingError("the padding is wrong")
    return data[:-1]


def _split_mac(field: bytes) -> tuple[bytes, bytes]:
    if len(field) < MAC_BYTES:
        raise EncodingError("there is no MAC")
    return field[:-MAC_BYTES], field[-MAC_BYTES:]


def _command_mac(session: SecureSession, instruction: int, protected: bytes) -> bytes:
    return short_mac(session.keys.mac, bytes((instruction,)) + _context(session) + protected)


def _answer_mac(session: SecureSession, status: int, protected: bytes) -> bytes:
    return short_mac(session.keys.mac, bytes((status,)) + _context(session) + protected)


def _context(session: SecureSession) -> bytes:
    return session.command_counter.to_bytes(2, "little") + session.transaction_id


def _command_iv(session: SecureSession) -> bytes:
    return _iv(session, _COMMAND_IV_LABEL)


def _answer_iv(session: SecureSession) -> bytes:
    return _iv(session, _ANSWER_IV_LABEL)


def _iv(session: SecureSession, label: bytes) -> bytes:
    counter = session.command_counter.to_bytes(2, "little")
    block = (label + session.transaction_id + counter).ljust(BLOCK_BYTES, b"\x00")
    # One block under a zero IV is what the data sheet calls ECB.
    return encrypt(session.keys.encryption, block)
