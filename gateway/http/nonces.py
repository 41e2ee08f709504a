"""Which signed requests were seen already: nonces of the last ten minutes, in bounded memory.

Defence in depth (docs/adr/0001, decision 5): a payment is answered from its attempt id, which is durable.
So when there are more nonces than may be kept, the oldest are forgotten early rather than anybody refused,
and a restart, or a second gateway, knows none of them.
"""

from __future__ import annotations

from gateway.errors import AuthenticationFailed


class NonceWindow:
    """Remembers nonces for at least the window, in two generations of which the older is dropped whole.

    What is kept of a nonce is its 64-bit hash under this process's own random key (Python's SipHash):
    nobody can aim a collision, and an accidental one, at a million nonces, costs one of 10^7 requests a
    resend.
    """

    __slots__ = ("_newer", "_nonces_max", "_older", "_started_ms", "_window_ms")

    def __init__(self, *, window_ms: int, nonces_max: int) -> None:
        """Start empty.

        Args:
            window_ms: how long a nonce must be remembered: as long as its signature can be fresh.
            nonces_max: most nonces per generation, at about 70 bytes each.
        """
        self._window_ms = window_ms
        self._nonces_max = nonces_max
        self._newer: set[int] = set()
        self._older: set[int] = set()
        self._started_ms: int | None = None

    def use(self, key_id: bytes, nonce: str, *, now_ms: int) -> None:
        """Remember this key's nonce.

        Call it only for a verified signature, else strangers fill the memory.

        Raises:
            AuthenticationFailed: `nonce_replayed`; it was used already.
        """
        self._turn_if_due(now_ms)
        mark = hash((key_id, nonce))
        if mark in self._newer or mark in self._older:
            raise AuthenticationFailed("this signed request was seen already", code="nonce_replayed")
        self._newer.add(mark)

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def _turn_if_due(self, now_ms: int) -> None:
        if self._started_ms is None:
            self._started_ms = now_ms
        age_ms = now_ms - self._started_ms
        if age_ms < self._window_ms and len(self._newer) < self._nonces_max:
            return
        # After two windows of silence nothing in either generation can matter any more.
        self._older = self._newer if age_ms < 2 * self._window_ms else set()
        self._newer = set()
        self._started_ms = now_ms
