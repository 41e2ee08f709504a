"""Whose request this is: from signed headers to an enrolled terminal or a holder's device.

The order of checks is from cheap to dear: form and digest, a known key, freshness, then the signature
(80 µs on the development machine, of about 100 µs in all). It runs in the event loop: handing 80 µs of
work to a thread costs more than it frees, and a loop that waits 80 µs answers everybody else in time.
Only after the signature holds does the caller learn anything about the key's owner.

Two facts are kept apart. That a key id stands for one public key never changes, so decoded keys are cached.
Whether a terminal is active does change, so it is read from the store each time; and the booking judges it
once more, in its own transaction.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.errors import AuthenticationFailed
from gateway.holders.model import Instrument, InstrumentKind
from gateway.http.nonces import NonceWindow
from gateway.merchants.model import EnrolledTerminal, TerminalStatus
from gateway.storage.store import Store
from wire import es256
from wire.http_signatures import (
    CREATED_WINDOW_MS,
    SignatureTag,
    SignedRequest,
    parse_signed_request,
    verify_signed_request,
)

KEYS_CACHED_MAX: Final = 10_000


class Authenticator:
    """Verifies signed requests against the keys in the store."""

    def __init__(
        self,
        store: Store,
        nonces: NonceWindow,
        *,
        public_url: str,
        window_ms: int = CREATED_WINDOW_MS,
        keys_cached_max: int = KEYS_CACHED_MAX,
    ) -> None:
        """Prepare an authenticator.

        Args:
            public_url: what callers sign before the path, without a final slash. The Host header is not
                asked: whoever sends a request also writes that.
        """
        self._store = store
        self._nonces = nonces
        self._public_url = public_url
        self._window_ms = window_ms
        self._keys = _KeyCache(keys_cached_max)

    async def authenticate_terminal(
        self, request: web.Request, body: bytes, *, now_ms: int
    ) -> tuple[EnrolledTerminal, SignedRequest]:
        """Return the active terminal that signed this request.

        Raises:
            SignatureError: unsigned, not of the profile, stale, or not this key's.
            AuthenticationFailed: `terminal_unknown`, `terminal_revoked`, `nonce_replayed`.
        """
        signed = self._parse(request, body, SignatureTag.TERMINAL)
        enrolled = await self._store.find_terminal_by_key(signed.key_id)
        if enrolled is None or enrolled.terminal.public_key is None:
            raise AuthenticationFailed("no terminal has this key", code="terminal_unknown")
        self._verify(signed, enrolled.terminal.public_key, now_ms=now_ms)
        if enrolled.terminal.status is TerminalStatus.REVOKED:
            raise AuthenticationFailed("this terminal was withdrawn", code="terminal_revoked")
        if enrolled.terminal.status is not TerminalStatus.ACTIVE:
            raise AuthenticationFailed("this terminal is not enrolled", code="terminal_unknown")
        self._nonces.use(signed.key_id, signed.nonce, now_ms=now_ms)
        return enrolled, signed

    async def authenticate_device(self, request: web.Request, body: bytes, *, now_ms: int) -> Instrument:
        """Return the phone that signed this request; whether it is suspended is the caller's to judge.

        Raises:
            SignatureError: unsigned, not of the profile, stale, or not this key's.
            AuthenticationFailed: `device_unknown`, `nonce_replayed`.
        """
        signed = self._parse(request, body, SignatureTag.DEVICE)
        instrument = await self._store.find_instrument_by_key(signed.key_id)
        if (
            instrument is None
            or instrument.kind is not InstrumentKind.PHONE_KEY
            or instrument.public_key is None
        ):
            raise AuthenticationFailed("no phone has this key", code="device_unknown")
        self._verify(signed, instrument.public_key, now_ms=now_ms)
        self._nonces.use(signed.key_id, signed.nonce, now_ms=now_ms)
        return instrument

    def parse_possession(self, request: web.Request, body: bytes) -> SignedRequest:
        """Return the signature of a request that will carry its own key, still unverified.

        Raises:
            SignatureError: unsigned, or not of the profile.
        """
        return self._parse(request, body, SignatureTag.TERMINAL)

    def verify_possession(self, signed: SignedRequest, public_key: es256.PublicKey, *, now_ms: int) -> None:
        """Return if this very key signed the request that carries it.

        The nonce is not remembered: strangers sign these, and enrolling twice answers the same.

        Raises:
            SignatureError: stale, or not this key's. AuthenticationFailed: it names another key.
        """
        verify_signed_request(signed, public_key, now_ms=now_ms, window_ms=self._window_ms)
        if signed.key_id != es256.key_id_of(public_key):
            raise AuthenticationFailed("the key id is not that of the key")

    def _parse(self, request: web.Request, body: bytes, tag: SignatureTag) -> SignedRequest:
        return parse_signed_request(
            method=request.method,
            target_uri=self._public_url + request.raw_path,
            headers=request.headers.items(),
            body=body,
            tag=tag,
        )

    def _verify(self, signed: SignedRequest, public_key: bytes, *, now_ms: int) -> None:
        key = self._keys.load(signed.key_id, public_key)
        verify_signed_request(signed, key, now_ms=now_ms, window_ms=self._window_ms)


class _KeyCache:
    """Decoded public keys; a key id is a hash of its key, so an entry can never be out of date."""

    def __init__(self, keys_max: int) -> None:
        self._keys_max = keys_max
        self._keys: dict[bytes, tuple[bytes, es256.PublicKey]] = {}

    def load(self, key_id: bytes, public_key: bytes) -> es256.PublicKey:
        cached = self._keys.get(key_id)
        # Eight bytes of a hash can be met by another key with enough work; then the stored key counts.
        if cached is not None and cached[0] == public_key:
            return cached[1]
        if len(self._keys) >= self._keys_max:
            self._keys.pop(next(iter(self._keys)))
        key = es256.load_public_key(public_key)
        self._keys[key_id] = (public_key, key)
        return key
