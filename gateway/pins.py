"""PINs at rest: argon2id, in its own text form, which carries its salt and its costs.

Four digits are soon tried out by whoever has the hash; the costs make that dear, and the count of tries,
which is taken before a PIN is judged, makes it impossible for whoever has not. An entry whose answer was lost
comes again: known by its mark, it is judged again and counted once.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from wire.errors import WireError

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MEMORY_KIB: Final = 19_456
ITERATIONS: Final = 2
LANES: Final = 1
"""OWASP's least costs for argon2id; some 50 ms on the development machine."""
AT_ONCE_MAX: Final = 2
"""PINs judged at a time: each takes its memory and a processor for as long as it lasts."""

_PIN: Final = re.compile(r"[0-9]{4,12}", re.ASCII)

RunBlocking = Callable[..., Awaitable[Any]]
"""Runs a function that takes its time, away from the event loop."""


class PinHasher:
    """Hashes and judges PINs."""

    def __init__(
        self,
        entry_key: bytes,
        *,
        run_blocking: RunBlocking = asyncio.to_thread,
        memory_kib: int = MEMORY_KIB,
        iterations: int = ITERATIONS,
    ) -> None:
        """Take costs, and the key of the marks.

        Args:
            entry_key: the same in all processes of a gateway, and not in the database: a mark would tell a
                PIN to whoever has both.
        """
        self._entry_key = entry_key
        self._run_blocking = run_blocking
        self._memory_kib = memory_kib
        self._iterations = iterations
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    def mark(self, entry_id: str, pin: str) -> bytes:
        """Return what an entry of a PIN is known by: the same for the same digits under the same id only."""
        return hmac.digest(self._entry_key, f"{entry_id}\0{pin}".encode("ascii"), hashlib.sha256)

    async def hash(self, pin: str, salt: bytes) -> str:
        """Return what is stored of a PIN; `salt` is SALT_BYTES fresh random bytes."""
        kdf = Argon2id(
            salt=salt,
            length=HASH_BYTES,
            iterations=self._iterations,
            lanes=LANES,
            memory_cost=self._memory_kib,
        )
        async with self._at_once:
            return str(await self._run_blocking(kdf.derive_phc_encoded, pin.encode("ascii")))

    async def matches(self, pin: str, pin_hash: str) -> bool:
        """Say whether this is the PIN of which that is stored."""
        async with self._at_once:
            return bool(await self._run_blocking(_matches, pin.encode("ascii"), pin_hash))


def _matches(pin: bytes, pin_hash: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(pin, pin_hash)
    except InvalidKey:
        return False
    return True


def check_pin(pin: str) -> str:
    """Return a PIN unchanged if it is one.

    Raises:
        WireError: it is not 4 to 12 digits.
    """
    if _PIN.fullmatch(pin) is None:
        raise WireError("a PIN is 4 to 12 digits")
    return pin
