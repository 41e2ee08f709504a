"""A conversation goes on in whichever process its next answer meets: stages are generators, run again.

What is kept of a stage is its seed and the answers so far. Whoever takes the next one runs the generator
from its start over all of them, which costs microseconds a command and leaves no state but data; the
randomness follows from the seed, so it comes out the same.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from wire.cards.dialogue import CardDialogue
from wire.cards.ntag424.secure_messaging import RANDOM_BYTES
from wire.messages.cards import CardStage

SEED_BYTES: Final = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asking:
    """The dialogue wants this command carried to the card."""

    command: bytes
    stage: CardStage


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """The dialogue is over."""

    value: T
    stage: CardStage


class Randomness:
    """Draws of one stage of one conversation: HMAC-SHA-256 of the seed, the stage and a number."""

    def __init__(self, seed: bytes, stage: str) -> None:
        self._seed = seed
        self._stage = stage
        self._count = 0

    def __call__(self) -> bytes:
        """Return the next 16 bytes."""
        self._count += 1
        message = f"{self._stage} {self._count}".encode("ascii")
        return hmac.digest(self._seed, message, hashlib.sha256)[:RANDOM_BYTES]


class Progress:
    """How far the running dialogue is, as it reports."""

    def __init__(self, stage: CardStage) -> None:
        self.stage = stage

    def __call__(self, stage: CardStage) -> None:
        """Note a stage."""
        self.stage = stage


def replay(
    make: Callable[[Progress], CardDialogue[T]], answers: Sequence[bytes], first: CardStage
) -> Asking | Ended[T]:
    """Run a dialogue over the answers it got, and return what it wants next.

    Raises:
        CardError: the dialogue refuses the last answer.
    """
    progress = Progress(first)
    dialogue = make(progress)
    try:
        command = next(dialogue)
        for answer in answers:
            command = dialogue.send(answer)
    except StopIteration as end:
        value: T = end.value
        return Ended(value, progress.stage)
    finally:
        dialogue.close()
    return Asking(command, progress.stage)
