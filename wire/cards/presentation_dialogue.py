"""Which of our cards is this, and what does it present? One dialogue for phones, applets and link cards.

The order is from the stronger proof to the weaker: whoever has the payment application is asked to sign,
and only a card that has never heard of it is read for a link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wire.cards.dialogue import CardDialogue, exchange, require_success
from wire.cards.ndef import NDEF_APDUS_MAX, parse_uri_message, read_ndef_message
from wire.cards.ntag424.link import parse_sun_url
from wire.cards.payment_application import (
    PAYMENT_APDUS_MAX,
    SELECT_APPLICATION,
    SIGNING_COMMAND_PREFIX,
    authorise_payment,
    check_application,
)
from wire.cards.payment_terms import PaymentTerms
from wire.cards.status_words import StatusWord
from wire.errors import CardError, EncodingError
from wire.messages.payments import NfcAppPresentation, NfcSdmPresentation

__all__ = ["APDUS_MAX", "SIGNING_COMMAND_PREFIX", "read_presentation"]

APDUS_MAX: Final = max(PAYMENT_APDUS_MAX, 1 + NDEF_APDUS_MAX)
"""Most commands one dialogue sends, whatever the card answers."""


def read_presentation(
    make_terms: Callable[[], PaymentTerms],
) -> CardDialogue[NfcAppPresentation | NfcSdmPresentation]:
    """Select the payment application and have it sign, or else read the card's one-time link.

    Ends with a presentation or a `CardError` within APDUS_MAX commands. After an error the card is to be
    asked again from the start, with a new dialogue and so a new nonce.

    Args:
        make_terms: called once the application is selected; returns terms with a nonce never used before.

    Raises:
        CardError: with a refusal code of wire/notices.py: `card_not_supported`, `card_locked`,
            `card_confirmation_required`, `card_blocked`, `card_changed`, `card_answer_invalid`.
    """
    selected = yield from exchange(SELECT_APPLICATION)
    if selected.status_word == StatusWord.FILE_NOT_FOUND:
        return (yield from _read_link())
    check_application(require_success(selected))
    token = yield from authorise_payment(make_terms())
    return NfcAppPresentation(token=token)


def _read_link() -> CardDialogue[NfcSdmPresentation]:
    message = yield from read_ndef_message()
    try:
        link = parse_sun_url(parse_uri_message(message))
    except EncodingError as error:
        raise CardError(str(error), code="card_not_supported") from None
    return NfcSdmPresentation(picc_data_hex=link.picc_data.hex().upper(), mac_hex=link.mac.hex().upper())
