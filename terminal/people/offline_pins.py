"""PINs of those who signed in online since this daemon started, so that they can again while nobody answers.

In memory only, as argon2id, and with fewer tries than it takes to guess: whoever steals the till's disk finds
nothing, and whoever stands at it has three tries for each person. A PIN that was changed at the gateway is
known here once its owner has signed in with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from terminal.blocking import RunBlocking, ask_blocking
from wire.messages.staff import STAFF_SHOWN_MAX, SignInAnswer, StaffEntry

OFFLINE_TRIES_MAX: Final = 3
"""Wrong PINs of one person; after them only the gateway lets them in."""
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MEMORY_KIB: Final = 19_456
ITERATIONS: Final = 2
LANES: Final = 1
"""OWASP's least costs for argon2id."""


@dataclass(slots=True)
class _Known:
    answer: SignInAnswer
    salt: bytes
    digest: bytes
    tries: int = 0


class OfflinePins:
    """What this run of the daemon knows of PINs."""

    def __init__(
        self, entropy: Callable[[int], bytes], *, run_blocking: RunBlocking = asyncio.to_thread
    ) -> None:
        self._entropy = entropy
        self._run_blocking = run_blocking
        self._known: dict[str, _Known] = {}
        # Each hash keeps one of the threads that the journal uses too, and 19 MiB.
        self._one_at_a_time = asyncio.Lock()

    async def learn(self, answer: SignInAnswer, pin: str) -> None:
        """Keep the PIN that the gateway has just found right, with what it said."""
        salt = self._entropy(SALT_BYTES)
        async with self._one_at_a_time:
            digest = await ask_blocking(self._run_blocking, lambda: _kdf(salt).derive(pin.encode("ascii")))
        self._known.pop(answer.member.staff_id, None)
        while len(self._known) >= STAFF_SHOWN_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[answer.member.staff_id] = _Known(answer, salt, digest)

    @property
    def members(self) -> list[StaffEntry]:
        """Whom this till knows, as the gateway described them when it last let them in."""
        return [known.answer.member for known in self._known.values()]

    def forget(self, staff_id: str) -> None:
        """Know somebody no more, since the gateway refused them or they have left."""
        self._known.pop(staff_id, None)

    async def judge(self, staff_id: str, pin: str) -> SignInAnswer | None:
        """Return what the gateway said of somebody when it last let them in; None for another PIN."""
        async with self._one_at_a_time:
            known = self._known.get(staff_id)
            if known is None or known.tries >= OFFLINE_TRIES_MAX:
                return None
            # Counted before it is judged.
            known.tries += 1
            if not await ask_blocking(self._run_blocking, partial(_matches, known.salt, known.digest, pin)):
                return None
            known.tries = 0
            return known.answer

    def knows(self, staff_id: str) -> bool:
        """Say whether somebody could sign in without the gateway."""
        known = self._known.get(staff_id)
        return known is not None and known.tries < OFFLINE_TRIES_MAX


def _matches(salt: bytes, digest: bytes, pin: str) -> bool:
    try:
        _kdf(salt).verify(pin.encode("ascii"), digest)
    except InvalidKey:
        return False
    return True


def _kdf(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=HASH_BYTES, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
