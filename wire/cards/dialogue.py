"""Dialogues with a card as generators: they yield commands and are sent answers, and do no I/O.

The terminal drives one over a reader's connection, a test over a list. An error a dialogue raises is
always a `CardError` whose code is a refusal of wire/notices.py, whatever the card answered.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from wire.cards.apdu import CommandApdu, ResponseApdu, parse_response
from wire.cards.status_words import StatusWord
from wire.errors import CardError, EncodingError

T = TypeVar("T")

CardDialogue = Generator[bytes, bytes, T]
"""Yields whole command APDUs, is sent whole response APDUs, returns T or raises `CardError`."""


def hold_dialogue(dialogue: CardDialogue[T], transmit: Callable[[bytes], bytes]) -> T:
    """Carry a dialogue to its end over whatever transmits a command and returns the answer.

    What `transmit` raises passes through and ends the dialogue.

    Raises:
        CardError: as the dialogue does.
    """
    try:
        command = next(dialogue)
        while True:
            command = dialogue.send(transmit(command))
    except StopIteration as end:
        outcome: T = end.value
        return outcome
    finally:
        dialogue.close()


def exchange(command: CommandApdu) -> CardDialogue[ResponseApdu]:
    """Send one command and return its answer, whatever its status.

    Raises:
        CardError: `card_answer_invalid`; the answer is no response APDU or longer than Le allowed.
    """
    raw = yield command.encode()
    try:
        response = parse_response(raw)
    except EncodingError as error:
        raise CardError(str(error)) from None
    if len(response.data) > (command.le or 0):
        raise CardError("the card answered more than it was asked for")
    return response


def expect_success(
    command: CommandApdu, *, refusal: Callable[[int], str] = StatusWord.refusal_of
) -> CardDialogue[bytes]:
    """Send one command and return the data of its answer.

    Args:
        command: what to send.
        refusal: names the refusal code of a status; another application may mean other things by one.

    Raises:
        CardError: with that code, for any status but 9000; `card_answer_invalid` as `exchange`.
    """
    response = yield from exchange(command)
    return require_success(response, refusal=refusal)


def require_success(
    response: ResponseApdu, *, refusal: Callable[[int], str] = StatusWord.refusal_of
) -> bytes:
    """Return the data of a successful answer.

    Raises:
        CardError: the status is not 9000; its code is the status's refusal.
    """
    if response.status_word != StatusWord.SUCCESS:
        raise CardError(StatusWord.describe(response.status_word), code=refusal(response.status_word))
    return response.data
