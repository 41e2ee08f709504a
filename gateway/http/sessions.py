"""Sessions of terminals, which the gateway need not remember: a session's id says all there is to know.

    when it is over, unix seconds (5) ‖ the terminal's key id (8) ‖ its agreement key (33) ‖ MAC (16)

The MAC is under a key of the vault, so only a gateway makes ids; the gateway's own agreement key comes from
the vault too. So every process of every gateway that shares the vault key knows every session, a restart
forgets none, and nothing is stored. What was worked out is kept in memory, because agreeing costs as much as
an ES256 signature.

A session can't be called back before it is over. It need not be: it proves who a terminal is, and whether
that terminal may still do anything is judged in every booking.
"""

from __future__ import annotations

import hmac
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import AuthenticationFailed
from gateway.vault import Vault
from wire import es256
from wire.request_sessions import SEED_BYTES, agree_on_key, make_agreement_key

SESSION_LIFETIME_MS: Final = 12 * 3_600_000
"""A shop's day: a till that takes a payment a minute opens one session for hundreds of them."""
SESSIONS_CACHED_MAX: Final = 10_000
"""Sessions whose keys are kept in memory, at about 300 bytes each; the least recently used goes first."""

_OVER_BYTES: Final = 5
_MAC_BYTES: Final = 16
_KEY_ID_END: Final = _OVER_BYTES + es256.KEY_ID_BYTES
_SIGNED_BYTES: Final = _KEY_ID_END + es256.PUBLIC_KEY_BYTES


class TerminalSession(msgspec.Struct, frozen=True):
    """A session as a gateway knows it."""

    key_id: bytes
    """Of the terminal's own key, which opened it."""
    key: bytes
    over_s: int
    """Unix seconds from which on it is over."""


class TerminalSessions:
    """Opens sessions, and recognises those that any gateway with this vault has opened."""

    __slots__ = ("_cached_max", "_known", "_mac_key", "_private_key", "public_key")

    def __init__(self, vault: Vault, *, cached_max: int = SESSIONS_CACHED_MAX) -> None:
        """Derive the gateway's part from the vault."""
        self._mac_key = vault.derive("session ids", SEED_BYTES)
        self._private_key = make_agreement_key(vault.derive("session agreement", SEED_BYTES))
        self.public_key = es256.dump_public_key(self._private_key.public_key())
        """The gateway's part of every agreement, as a compressed point."""
        self._known: dict[bytes, TerminalSession] = {}
        self._cached_max = cached_max

    def open(self, key_id: bytes, their_key: ec.EllipticCurvePublicKey, *, now_ms: int) -> bytes:
        """Return the id of a new session of SESSION_LIFETIME_MS.

        Args:
            key_id: of the key that has just signed the request to open it.
            their_key: the terminal's part, made for this session alone.
        """
        over_s = (now_ms + SESSION_LIFETIME_MS) // 1000
        said = over_s.to_bytes(_OVER_BYTES, "big") + key_id + es256.dump_public_key(their_key)
        return said + self._mac(said)

    def find(self, session_id: bytes, *, now_ms: int) -> TerminalSession:
        """Return the session that an id stands for.

        Raises:
            AuthenticationFailed: `session_unknown`; it is over, or no gateway with this vault opened it.
        """
        session = self._known.pop(session_id, None) or self._work_out(session_id)
        if session.over_s * 1000 <= now_ms:
            raise AuthenticationFailed("the session is over", code="session_unknown")
        self._known[session_id] = session
        if len(self._known) > self._cached_max:
            self._known.pop(next(iter(self._known)))
        return session

    def _work_out(self, session_id: bytes) -> TerminalSession:
        said, mac = session_id[:_SIGNED_BYTES], session_id[_SIGNED_BYTES:]
        if len(said) != _SIGNED_BYTES or not hmac.compare_digest(mac, self._mac(said)):
            raise AuthenticationFailed("this gateway opened no such session", code="session_unknown")
        their_key = es256.load_public_key(said[_KEY_ID_END:])
        return TerminalSession(
            key_id=said[_OVER_BYTES:_KEY_ID_END],
            key=agree_on_key(self._private_key, their_key, session_id),
            over_s=int.from_bytes(said[:_OVER_BYTES], "big"),
        )

    def _mac(self, said: bytes) -> bytes:
        return hmac.digest(self._mac_key, said, "sha256")[:_MAC_BYTES]
