"""Signs a terminal's requests: by its own key, or under a session's while there is one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wire import es256
from wire.http_signatures import SignatureTag, sign_request, sign_session_request
from wire.messages.sessions import SessionAnswer, SessionRequest
from wire.request_sessions import SEED_BYTES, RequestSession, agree_on_key, make_agreement_key

NONCE_BYTES: Final = 16
RENEWED_AT: Final = 0.9
"""Which part of a session's life is used; the next one is opened before it is over."""


@dataclass(frozen=True, slots=True)
class SessionOpening:
    """A session that is being opened: what is sent, and the key that was made for it."""

    request: SessionRequest
    private_key: es256.PrivateKey


class RequestSigner:
    """Signs requests; see `session` for what by."""

    def __init__(
        self, private_key: es256.PrivateKey, now_ms: Callable[[], int], entropy: Callable[[int], bytes]
    ) -> None:
        """Prepare a signer without a session.

        Args:
            now_ms: unix milliseconds.
            entropy: returns that many random bytes, for nonces and for the keys of sessions.
        """
        self._private_key = private_key
        self._now_ms = now_ms
        self._entropy = entropy
        self.session: RequestSession | None = None
        """What signs now; None where the terminal's own key does."""
        self.session_dropped = asyncio.Event()
        """Set when a session was given up before its time."""

    def sign(
        self,
        method: str,
        uri: str,
        body: bytes,
        idempotency_key: str | None,
        session: RequestSession | None = None,
    ) -> dict[str, str]:
        """Return the headers that sign a request under a session, or by the terminal's own key.

        Raises:
            SignatureError: the profile can't carry it.
        """
        created_s = self._now_ms() // 1000
        nonce = base64.urlsafe_b64encode(self._entropy(NONCE_BYTES)).decode("ascii").rstrip("=")
        if session is not None:
            return sign_session_request(
                method=method,
                target_uri=uri,
                session=session,
                created_s=created_s,
                nonce=nonce,
                body=body,
                idempotency_key=idempotency_key,
            )
        return sign_request(
            method=method,
            target_uri=uri,
            private_key=self._private_key,
            created_s=created_s,
            nonce=nonce,
            tag=SignatureTag.TERMINAL,
            body=body,
            idempotency_key=idempotency_key,
        )

    def begin_session(self) -> SessionOpening:
        """Make a key for a new session."""
        private_key = make_agreement_key(self._entropy(SEED_BYTES))
        public_key = es256.dump_public_key(private_key.public_key())
        return SessionOpening(SessionRequest(public_key=public_key), private_key)

    def take_session(self, opening: SessionOpening, answer: SessionAnswer) -> float:
        """Sign under the session that an answer opened, and return in how many seconds to open the next.

        Raises:
            WireError: the answer holds no key.
        """
        key = agree_on_key(opening.private_key, es256.load_public_key(answer.public_key), answer.session_id)
        self.session = RequestSession(answer.session_id, key)
        return answer.lifetime_ms * RENEWED_AT / 1000

    def drop_session(self, session: RequestSession) -> None:
        """Give up a session that the gateway does not know; a newer one stays."""
        if self.session is session:
            self.session = None
            self.session_dropped.set()
