"""AES-128 CMAC, the one primitive behind a card's links and its keys (RFC 4493, NIST SP 800-38B)."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.cmac import CMAC

KEY_BYTES: Final = 16


def aes_cmac(key: bytes, message: bytes) -> bytes:
    """Return the sixteen-byte CMAC of a message under an AES-128 key.

    Source: RFC 4493 section 2.4. A key of another length is our own bug, and asserts.
    """
    assert len(key) == KEY_BYTES, "an NTAG 424 DNA key has 16 bytes"
    mac = CMAC(AES128(key))
    mac.update(message)
    return mac.finalize()
