"""A conversation with a card that a terminal carries: the gateway makes each command, judges each answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from wire.messages.base import Message
from wire.messages.payments import PaymentAnswer, UlidText

CARD_SESSIONS_TARGET: Final = "/v1/card-sessions"
STEPS_MAX: Final = 1_000
"""Commands of one conversation."""

CardBytes = Annotated[bytes, msgspec.Meta(max_length=261)]
"""A command or response APDU in its short form."""


class CardPurpose(StrEnum):
    """What a conversation is for."""

    PERSONALISE = "personalise"
    """Make an ordered card of a chip; needs the order's code."""
    VERIFY = "verify"
    """Prove a card, changing nothing on it."""
    RECOVER = "recover"
    """Go on wherever the making or wiping of a card broke off; bring a card to the newest keys."""
    WIPE = "wipe"
    """Give a chip back what it was delivered with."""
    CONFIRM = "confirm"
    """Prove that the card of a payment is here; needs the payment."""


class CardStage(StrEnum):
    """How far a conversation is, for whoever holds the card."""

    LOOK = "look"
    LINK = "link"
    KEYS = "keys"
    HIDE_UID = "hide_uid"
    MASTER_KEY = "master_key"
    PROOF = "proof"


class CardSessionRequest(Message, frozen=True):
    """Begin; the same id with the same content answers again."""

    session_id: UlidText
    purpose: CardPurpose
    code: Annotated[str, msgspec.Meta(min_length=8, max_length=32)] | None = None
    payment_id: UlidText | None = None


class CardAnswerRequest(Message, frozen=True):
    """What the card answered to the command of a step; the same answer again gets the same next command."""

    answer_id: UlidText
    step: Annotated[int, msgspec.Meta(ge=0, le=STEPS_MAX)]
    answer: CardBytes


class CardView(Message, frozen=True):
    """What is known of a card."""

    instrument_id: str | None
    label: str | None
    status: str | None
    """Of its instrument: `active` or `suspended`; None where it is none."""
    key_version: int
    """0: as delivered."""
    is_newest: bool = True
    """Whether its batch has no newer keys."""


class CardSessionAnswer(Message, frozen=True):
    """Where the conversation stands."""

    session_id: str
    state: Literal["asking", "done", "refused"]
    step: Annotated[int, msgspec.Meta(ge=0, le=STEPS_MAX)]
    stage: CardStage
    stage_number: int
    """1 to `stage_count`."""
    stage_count: int
    command: CardBytes | None = None
    """While asking: what the card is to be sent."""
    code: str | None = None
    """If refused: why, as a refusal of wire/notices."""
    card: CardView | None = None
    """If done."""
    payment: PaymentAnswer | None = None
    """If done, and it was for a payment."""
