"""Request sessions: one key for many requests, agreed on in one request that the terminal's own key signed.

Verifying ES256 costs the gateway eighty to a hundred microseconds, HMAC three (docs/adr/0006). The key
crosses no wire: each side has a P-256 key, the terminal's made for this session alone, and both derive the
same session key from it (ECDH, then HKDF-SHA-256 over the session's id, which the gateway authenticates).

A session speeds things up and allows nothing: a terminal's own key signs whatever a session's does, and what
a session may sign, a withdrawn terminal may not.
"""

from __future__ import annotations

from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wire import es256

SESSION_KEY_BYTES: Final = 32
SESSION_ID_BYTES_MIN: Final = 24
SESSION_ID_BYTES_MAX: Final = 96
"""A terminal takes a session's id as it is; only the gateway knows what is in it."""
SEED_BYTES: Final = 48
"""What a private key is made from: 128 bits more than the group's order, so that no key is likelier."""

_USE: Final = b"tapscan request session v1\0"
# SEC 2, section 2.4.2: the order of P-256.
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class RequestSession(msgspec.Struct, frozen=True):
    """A session as a terminal keeps it."""

    session_id: bytes
    key: bytes
    """SESSION_KEY_BYTES of them; never logged, never stored."""

    def __repr__(self) -> str:
        """Say which session, and nothing of its key."""
        return f"RequestSession({self.session_id.hex()[:8]}…)"


def make_agreement_key(seed: bytes) -> es256.PrivateKey:
    """Return a private key for agreeing on session keys, and for nothing else.

    Args:
        seed: SEED_BYTES that nobody can guess; the same seed makes the same key.
    """
    assert len(seed) == SEED_BYTES, "a seed has SEED_BYTES"
    return ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, ec.SECP256R1())


def agree_on_key(own: es256.PrivateKey, their: es256.PublicKey, session_id: bytes) -> bytes:
    """Return the session key, the same on both sides.

    Source: ECDH as NIST SP 800-56A 6.1.2.2, HKDF as RFC 5869; the id goes into the derivation, so that no two
    sessions have one key.
    """
    secret = own.exchange(ec.ECDH(), their)
    return HKDF(algorithm=SHA256(), length=SESSION_KEY_BYTES, salt=None, info=_USE + session_id).derive(
        secret
    )
