"""Whose request this is: from signed headers to an enrolled terminal or a holder's device.

The order of checks is from cheap to dear: form and digest, a known key, freshness, then the signature
(80 µs on the development machine, of about 100 µs in all). It runs in the event loop: handing 80 µs of
work to a thread costs more than it frees, and a loop that waits 80 µs answers everybody else in time.
Only after the signature holds does the caller learn anything about the key's owner.

A terminal may also sign under the key of a request session that its own key opened (gateway/http/sessions.py,
docs/adr/0006): it then costs three microseconds, and nothing else changes.

Two facts are kept apart (docs/adr/0001, decision 4). Which terminal a key belongs to never changes, so it
is cached: reading it would cost more than verifying. Whether the terminal is active does change, and is
never taken from the cache: a booking judges it in its own transaction, everything else reads it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from gateway.errors import AuthenticationFailed
from gateway.holders.model import Instrument, InstrumentKind, RequestNonce
from gateway.http.calls import SignedCall
from gateway.http.nonces import NonceWindow
from gateway.http.sessions import TerminalSession, TerminalSessions
from gateway.merchants.model import EnrolledTerminal, TerminalStatus
from gateway.storage.store import Store
from wire import es256
from wire.errors import SignatureError
from wire.http_signatures import (
    CREATED_WINDOW_MS,
    SignatureTag,
    SignedRequest,
    parse_signed_request,
    verify_session_request,
    verify_signed_request,
)

TERMINALS_CACHED_MAX: Final = 10_000
"""At about 2 KiB each; the least recently used goes first."""


_EXPIRED: Final = "signature_expired"
_OWN_KEY: Final = frozenset({SignatureTag.TERMINAL})
_OWN_KEY_OR_SESSION: Final = frozenset({SignatureTag.TERMINAL, SignatureTag.SESSION})
_DEVICE: Final = frozenset({SignatureTag.DEVICE})


class Authenticator:
    """Verifies signed requests against the keys in the store."""

    def __init__(
        self,
        store: Store,
        nonces: NonceWindow,
        sessions: TerminalSessions,
        *,
        public_url: str,
        window_ms: int = CREATED_WINDOW_MS,
        terminals_cached_max: int = TERMINALS_CACHED_MAX,
    ) -> None:
        """Prepare an authenticator.

        Args:
            public_url: what callers sign before the path, without a final slash. The Host header is not
                asked: whoever sends a request also writes that.
        """
        self._store = store
        self._nonces = nonces
        self._sessions = sessions
        self._public_url = public_url
        self._window_ms = window_ms
        self._terminals_cached_max = terminals_cached_max
        self._terminals: dict[bytes, _KnownTerminal] = {}

    async def identify_terminal(
        self, call: SignedCall, *, now_ms: int
    ) -> tuple[EnrolledTerminal, SignedRequest]:
        """Return the terminal that signed this request, for a booking that will judge if it is active.

        Raises:
            SignatureError: unsigned, not of the profile, stale, or not this key's.
            AuthenticationFailed: `terminal_unknown`, `nonce_replayed`, `session_unknown`; `terminal_revoked`
                where that is seen already.
        """
        _, known, signed = await self._identify(call, _OWN_KEY_OR_SESSION, now_ms)
        return known.enrolled, signed

    async def authenticate_terminal(
        self, call: SignedCall, *, now_ms: int, own_key: bool = False
    ) -> tuple[EnrolledTerminal, SignedRequest]:
        """Return the terminal that signed this request and is active now, and what it signed.

        Args:
            own_key: it must have signed by its own key: sessions open no sessions, and who asks for a
                refund leaves a signature that the gateway could not have made (docs/adr/0006).

        Raises:
            SignatureError: unsigned, not of the profile, stale, or not this key's.
            AuthenticationFailed: `terminal_unknown`, `terminal_revoked`, `nonce_replayed`, `session_unknown`.
        """
        tags = _OWN_KEY if own_key else _OWN_KEY_OR_SESSION
        key_id, _, signed = await self._identify(call, tags, now_ms)
        return (await self._read_active(key_id)).enrolled, signed

    async def authenticate_device(
        self, call: SignedCall, *, now_ms: int
    ) -> tuple[Instrument, RequestNonce, SignedRequest]:
        """Return the phone that signed this request, its nonce, and what was signed.

        Whether the phone is suspended is the caller's to judge.

        The nonce is new to this process. Whoever acts on the request hands it to the store, which alone
        knows what other processes saw, and this one before it was restarted.

        Raises:
            SignatureError: unsigned, not of the profile, stale, or not this key's.
            AuthenticationFailed: `device_unknown`, `nonce_replayed`.
        """
        signed = self._parse(call, _DEVICE)
        instrument = await self._store.find_instrument_by_key(signed.key_id)
        if (
            instrument is None
            or instrument.kind is not InstrumentKind.PHONE_KEY
            or instrument.public_key is None
        ):
            raise AuthenticationFailed("no phone has this key", code="device_unknown")
        self._verify(signed, es256.load_public_key(instrument.public_key), now_ms=now_ms)
        self._nonces.use(signed.key_id, signed.nonce, now_ms=now_ms)
        # Fresh to the very end of its window, so it is stale a millisecond later.
        stale_ms = signed.created_s * 1000 + self._window_ms + 1
        return instrument, RequestNonce(signed.key_id, signed.nonce, stale_ms), signed

    def parse_possession(self, call: SignedCall) -> SignedRequest:
        """Return the signature of a request that will carry its own key, still unverified.

        Raises:
            SignatureError: unsigned, or not of the profile.
        """
        return self._parse(call, _OWN_KEY)

    def verify_possession(self, signed: SignedRequest, public_key: es256.PublicKey, *, now_ms: int) -> None:
        """Return if this very key signed the request that carries it.

        The nonce is not remembered: strangers sign these, and enrolling twice answers the same.

        Raises:
            SignatureError: stale, or not this key's. AuthenticationFailed: it names another key.
        """
        self._verify(signed, public_key, now_ms=now_ms)
        if signed.key_id != es256.key_id_of(public_key):
            raise AuthenticationFailed("the key id is not that of the key")

    async def _identify(
        self, call: SignedCall, tags: Collection[SignatureTag], now_ms: int
    ) -> tuple[bytes, _KnownTerminal, SignedRequest]:
        """Return whose request this is: the key id, what it stands for, and what was signed."""
        signed = self._parse(call, tags)
        session = self._sessions.find(signed.key_id, now_ms=now_ms) if signed.is_in_session else None
        key_id = signed.key_id if session is None else session.key_id
        known = self._terminals.get(key_id) or await self._read_terminal(key_id)
        try:
            self._check(signed, known, session, now_ms=now_ms)
        except SignatureError as error:
            if error.code == _EXPIRED and signed.created_s * 1000 > now_ms:
                self._spend_early(signed, known, session, key_id, now_ms)
            raise
        _require_active(known.enrolled)
        self._nonces.use(key_id, signed.nonce, now_ms=now_ms)
        self._remember(key_id, known)
        return key_id, known, signed

    def _check(
        self, signed: SignedRequest, known: _KnownTerminal, session: TerminalSession | None, *, now_ms: int
    ) -> None:
        if session is None:
            self._verify(signed, known.public_key, now_ms=now_ms)
        else:
            verify_session_request(signed, session.key, now_ms=now_ms, window_ms=self._window_ms)

    def _spend_early(
        self,
        signed: SignedRequest,
        known: _KnownTerminal,
        session: TerminalSession | None,
        key_id: bytes,
        now_ms: int,
    ) -> None:
        """Use up a request from the future that is refused for that alone.

        Its sender is told that nothing was booked. A copy that somebody relays a little later, when it is no
        longer early, must not make a lie of this.
        """
        self._check(signed, known, session, now_ms=signed.created_s * 1000)
        self._nonces.use(key_id, signed.nonce, now_ms=now_ms)

    def _parse(self, call: SignedCall, tags: Collection[SignatureTag]) -> SignedRequest:
        return parse_signed_request(
            method=call.method,
            target_uri=self._public_url + call.raw_path,
            headers=call.headers.items(),
            body=call.body,
            tags=tags,
        )

    async def _read_active(self, key_id: bytes) -> _KnownTerminal:
        known = await self._read_terminal(key_id)
        _require_active(known.enrolled)
        return known

    async def _read_terminal(self, key_id: bytes) -> _KnownTerminal:
        enrolled = await self._store.find_terminal_by_key(key_id)
        if enrolled is None or enrolled.terminal.public_key is None:
            raise AuthenticationFailed("no terminal has this key", code="terminal_unknown")
        return _KnownTerminal(enrolled, es256.load_public_key(enrolled.terminal.public_key))

    def _remember(self, key_id: bytes, known: _KnownTerminal) -> None:
        self._terminals.pop(key_id, None)
        self._terminals[key_id] = known
        if len(self._terminals) > self._terminals_cached_max:
            self._terminals.pop(next(iter(self._terminals)))

    def _verify(self, signed: SignedRequest, key: es256.PublicKey, *, now_ms: int) -> None:
        verify_signed_request(signed, key, now_ms=now_ms, window_ms=self._window_ms)


@dataclass(frozen=True, slots=True)
class _KnownTerminal:
    """What a key id stands for, for ever; of `enrolled`, the status was that of the moment it was read."""

    enrolled: EnrolledTerminal
    public_key: es256.PublicKey


def _require_active(enrolled: EnrolledTerminal) -> None:
    if enrolled.terminal.status is TerminalStatus.REVOKED:
        raise AuthenticationFailed("this terminal was withdrawn", code="terminal_revoked")
    if enrolled.terminal.status is not TerminalStatus.ACTIVE:
        raise AuthenticationFailed("this terminal is not enrolled", code="terminal_unknown")
