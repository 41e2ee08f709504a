"""Everything a conversation with a card knows, as it is sealed between two answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from gateway.cards.dialogues import Look
from gateway.cards.key_book import KeyRow
from wire.cards.ntag424.card_profile import KEY_VERSION_DELIVERED
from wire.messages.cards import CardPurpose, CardStage, CardView

ANSWER_BYTES_MAX: Final = 2_800
"""Of the answers kept of one part; an honest card stays below a half of it."""


class Part(StrEnum):
    """Which dialogue is being held; each begins with a fresh list of answers."""

    LOOK = "look"
    SET_UP = "set_up"
    TAKE_DOWN = "take_down"
    PROVE = "prove"
    PROVE_BLANK = "prove_blank"
    CATCH_UP = "catch_up"
    CONFIRM = "confirm"
    OVER = "over"


_MAKING: Final = (
    CardStage.LOOK,
    CardStage.LINK,
    CardStage.KEYS,
    CardStage.HIDE_UID,
    CardStage.MASTER_KEY,
    CardStage.PROOF,
)
STAGES_OF: Final[dict[CardPurpose, tuple[CardStage, ...]]] = {
    CardPurpose.PERSONALISE: _MAKING,
    CardPurpose.RECOVER: _MAKING,
    CardPurpose.WIPE: (
        CardStage.LOOK,
        CardStage.KEYS,
        CardStage.LINK,
        CardStage.MASTER_KEY,
        CardStage.PROOF,
    ),
    CardPurpose.VERIFY: (CardStage.LOOK, CardStage.PROOF),
    CardPurpose.CONFIRM: (CardStage.PROOF,),
}
"""What a person holding the card is told, in order."""
FIRST_STAGE_OF: Final[dict[Part, CardStage]] = {
    Part.LOOK: CardStage.LOOK,
    Part.SET_UP: CardStage.LOOK,
    Part.TAKE_DOWN: CardStage.LOOK,
    Part.PROVE: CardStage.PROOF,
    Part.PROVE_BLANK: CardStage.PROOF,
    Part.CATCH_UP: CardStage.PROOF,
    Part.CONFIRM: CardStage.PROOF,
}


class State(msgspec.Struct, frozen=True, array_like=True):
    """One conversation between two answers."""

    purpose: CardPurpose
    part: Part
    seed: bytes
    rows: tuple[KeyRow, ...]
    """The card keys there were when it began: what is added meanwhile would change what is replayed."""
    link_base: str
    code_hash: bytes | None = None
    payment_id: str | None = None
    uid: bytes = b""
    versions: tuple[int, ...] = ()
    shows_uid: bool = True
    target: KeyRow | None = None
    """The keys the card is to have, or to prove."""
    order_id: str | None = None
    instrument_id: str | None = None
    key_id: bytes | None = None
    """Of the instrument, as it was when the card was looked at."""
    read_count: int = 0
    """How often a link is read to catch up."""
    answers: tuple[bytes, ...] = ()
    last_answer: bytes = b""
    code: str | None = None
    """Why it was refused, once it is."""
    view: CardView | None = None

    @property
    def seen(self) -> Look:
        """What was found out of the chip."""
        return Look(self.uid, self.versions, self.shows_uid)

    @property
    def is_blank(self) -> bool:
        """Whether no key on the chip was ever changed, as far as their versions say."""
        return all(version == KEY_VERSION_DELIVERED for version in self.versions)

    def on(self, part: Part) -> State:
        """Return the state at the beginning of another part."""
        return msgspec.structs.replace(self, part=part, answers=())

    def refused(self, code: str) -> State:
        """Return the state after a refusal."""
        return msgspec.structs.replace(self, part=Part.OVER, answers=(), code=code)
