"""Authentication to a simulated NTAG 424 DNA chip: challenges, sessions, and who fails too often.

The data sheet says that the chip delays after 50 failures in a row and locks a key after 1,000, and not how
long a delay lasts. Here it lasts one more "not now" for each failure beyond the 49th.

Source: NXP NT4H2421Gx data sheet rev 3.0, sections 9.1.5 and 10.4.1.
"""

from __future__ import annotations

import hmac
import random
from dataclasses import dataclass
from typing import Final

from simulators.cards.ntag424_memory import SEQUENCE_FAILURES_MAX, KeyCell, Ntag424Memory
from wire.cards.ntag424.file_settings import KEY_COUNT
from wire.cards.ntag424.native_status import NativeStatus
from wire.cards.ntag424.secure_messaging import (
    COUNTER_MAX,
    RANDOM_BYTES,
    TRANSACTION_ID_BYTES,
    CommMode,
    SecureSession,
    decrypt,
    derive_session_keys,
    encrypt,
    open_command,
    protect_answer,
)
from wire.errors import EncodingError

_CAPABILITIES_BYTES: Final = 6
_REQUIRES_LRP: Final = 0x02
_RESERVED_KEY_BITS: Final = 0xC0
_SEQUENCE_FAILURES_STORED_MAX: Final = 255


class Refusal(Exception):
    """The chip refuses a native command; whatever it refuses, nobody is authenticated any more."""

    def __init__(self, status: NativeStatus) -> None:
        super().__init__(status.meaning)
        self.status = status


@dataclass(frozen=True, slots=True)
class Challenge:
    """A first part that waits for its second."""

    key_number: int
    rnd_b: bytes
    reader_capabilities: bytes


class ChipSession:
    """Who is authenticated to the chip; volatile."""

    def __init__(self, memory: Ntag424Memory, rng: random.Random) -> None:
        self._memory = memory
        self._rng = rng
        self.secure: SecureSession | None = None
        self.key_number: int | None = None

    def forget(self) -> None:
        """Be unauthenticated."""
        self.secure = self.key_number = None

    def begin(self, data: bytes, *, in_application: bool) -> tuple[Challenge, bytes]:
        """Answer the first part of AuthenticateEV2First with the encrypted challenge.

        Raises:
            Refusal: no such key, a key that is locked, or "not now".
        """
        self.forget()
        if len(data) < 2 or len(data) != 2 + data[1] or data[1] > _CAPABILITIES_BYTES:
            raise Refusal(NativeStatus.LENGTH_ERROR)
        key_number, capabilities = data[0], data[2:]
        if key_number & _RESERVED_KEY_BITS or (capabilities and capabilities[0] & _REQUIRES_LRP):
            # A chip set to AES would let the reader fall back here; nobody of ours asks for LRP.
            raise Refusal(NativeStatus.PARAMETER_ERROR)
        if not in_application or key_number >= KEY_COUNT:
            raise Refusal(NativeStatus.NO_SUCH_KEY)
        self._check_failures(self._memory.keys[key_number])
        rnd_b = self._rng.randbytes(RANDOM_BYTES)
        challenge = Challenge(key_number, rnd_b, capabilities.ljust(_CAPABILITIES_BYTES, b"\x00"))
        return challenge, encrypt(self._memory.keys[key_number].key, rnd_b)

    def finish(self, challenge: Challenge, data: bytes) -> bytes:
        """Judge the second part, and answer with the chip's proof under a new session.

        Raises:
            Refusal: another length, or another key.
        """
        cell = self._memory.keys[challenge.key_number]
        if len(data) != 2 * RANDOM_BYTES:
            raise Refusal(NativeStatus.LENGTH_ERROR)
        plain = decrypt(cell.key, data)
        rnd_a, proof = plain[:RANDOM_BYTES], plain[RANDOM_BYTES:]
        if not hmac.compare_digest(proof, _rotate(challenge.rnd_b)):
            self._count_failure(cell)
            raise Refusal(NativeStatus.AUTHENTICATION_ERROR)
        self._count_success(cell)
        transaction_id = self._rng.randbytes(TRANSACTION_ID_BYTES)
        self.secure = SecureSession(derive_session_keys(cell.key, rnd_a, challenge.rnd_b), transaction_id)
        self.key_number = challenge.key_number
        answer = transaction_id + _rotate(rnd_a) + bytes(_CAPABILITIES_BYTES) + challenge.reader_capabilities
        return encrypt(cell.key, answer)

    def open(self, instruction: int, field: bytes, header_bytes: int, mode: CommMode) -> bytes:
        """Return a command's data, and count it.

        Raises:
            Refusal: MAC or padding is wrong, or the counter is used up.
        """
        if self.secure is None:
            return field[header_bytes:]
        if self.secure.command_counter >= COUNTER_MAX:
            raise Refusal(NativeStatus.INTEGRITY_ERROR)
        try:
            data = open_command(self.secure, instruction, field, header_bytes, mode)
        except EncodingError:
            raise Refusal(NativeStatus.INTEGRITY_ERROR) from None
        self.secure = self.secure.counted()
        return data

    def protect(self, data: bytes, mode: CommMode) -> bytes:
        """Return the data field of a successful answer."""
        return data if self.secure is None else protect_answer(self.secure, 0, data, mode)

    def holds(self, right: int) -> bool:
        """Say whether a right is that of the authenticated key."""
        return self.key_number is not None and self.key_number == right

    def _check_failures(self, cell: KeyCell) -> None:
        if not self._memory.counts_failures:
            return
        if cell.total_failures >= self._memory.total_failures_max:
            raise Refusal(NativeStatus.PERMISSION_DENIED)
        if cell.delays_spent < cell.sequence_failures - SEQUENCE_FAILURES_MAX + 1:
            cell.delays_spent += 1
            raise Refusal(NativeStatus.AUTHENTICATION_DELAY)

    def _count_failure(self, cell: KeyCell) -> None:
        if self._memory.counts_failures:
            cell.total_failures += 1
            cell.sequence_failures = min(cell.sequence_failures + 1, _SEQUENCE_FAILURES_STORED_MAX)
            cell.delays_spent = 0

    def _count_success(self, cell: KeyCell) -> None:
        cell.total_failures = max(0, cell.total_failures - self._memory.total_failures_forgiven)
        cell.sequence_failures = cell.delays_spent = 0


def _rotate(random_bytes: bytes) -> bytes:
    return random_bytes[1:] + random_bytes[:1]
