"""A card in the field, asked what it presents: so many commands, so much time, the signing one timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from terminal.errors import PresentationRefused
from terminal.presentations import Presented, PresentedInVain, TermsSource
from terminal.readers.card_reader import CardConnection, CardTechnology
from wire.cards.dialogue import hold_dialogue
from wire.cards.presentation_dialogue import SIGNING_COMMAND_PREFIX, OfflineTap, read_presentation
from wire.errors import CardError
from wire.messages.payments import NfcAppPresentation

PRESENTATION_MS_MAX: Final = 5_000
"""From noticing a card to the end of its dialogue; checked before every command."""
APDU_COUNT_MAX: Final = 24
"""Commands of one presentation; the longest honest dialogue needs fewer than half."""
_NS_PER_MS: Final = 1_000_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def meet_card(
    connection: CardConnection,
    terms: TermsSource,
    *,
    reader: str,
    noticed_ns: int,
    monotonic_ns: Callable[[], int],
) -> Presented | PresentedInVain:
    """Hold the dialogue with a card, and return what it presents or why it can't be used.

    Args:
        reader: the device's path, for the event.
        noticed_ns: when the card came, by `monotonic_ns`.

    Raises:
        CardRemoved: it left; whoever holds it again is met anew.
        ReaderUnavailable, or whatever a driver throws: the reader failed under the card.
    """
    if connection.technology is CardTechnology.UID_ONLY:
        return PresentedInVain(reader, "uid_only_card", noticed_ns)
    driven = _DrivenConnection(connection, noticed_ns + PRESENTATION_MS_MAX * _NS_PER_MS, monotonic_ns)
    try:
        read = hold_dialogue(read_presentation(terms), driven.transmit)
    except (CardError, PresentationRefused) as refusal:
        log.info("card_refused", reader=reader, code=refusal.code)
        return PresentedInVain(reader, refusal.code, noticed_ns)
    credential = None
    if isinstance(read, OfflineTap):
        credential, read = read.credential, NfcAppPresentation(token=read.token)
    return Presented(
        reader=reader,
        presentation=read,
        noticed_ns=noticed_ns,
        complete_ns=monotonic_ns(),
        card_exchange_ms=driven.card_exchange_ms,
        credential=credential,
    )


class _DrivenConnection:
    """A connection as a dialogue may use it."""

    def __init__(self, connection: CardConnection, deadline_ns: int, monotonic_ns: Callable[[], int]) -> None:
        self._connection = connection
        self._deadline_ns = deadline_ns
        self._monotonic_ns = monotonic_ns
        self._apdus_left = APDU_COUNT_MAX
        self.card_exchange_ms: int | None = None

    def transmit(self, command: bytes) -> bytes:
        self._apdus_left -= 1
        started_ns = self._monotonic_ns()
        if self._apdus_left < 0 or started_ns > self._deadline_ns:
            raise PresentationRefused("the card takes too long", code="card_answer_invalid")
        answer = self._connection.transmit(command)
        if command.startswith(SIGNING_COMMAND_PREFIX):
            self.card_exchange_ms = (self._monotonic_ns() - started_ns) // _NS_PER_MS
        return answer
