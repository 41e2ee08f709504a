"""Which of our cards is this, and what does it present? One dialogue for phones, applets and link cards.

The order is from the stronger proof to the weaker: whoever has the payment application is asked to sign,
and only a card that has never heard of it is read for a link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    check_can_pay_offline,
    fetch_credential,
)
from wire.cards.payment_terms import PaymentTerms
from wire.cards.status_words import StatusWord
from wire.errors import CardError, EncodingError
from wire.messages.payments import NfcAppPresentation, NfcSdmPresentation

__all__ = ["APDUS_MAX", "SIGNING_COMMAND_PREFIX", "OfflineTap", "read_presentation"]

APDUS_MAX: Final = max(PAYMENT_APDUS_MAX, 1 + NDEF_APDUS_MAX)
"""Most commands one dialogue sends, whatever the card answers."""


@dataclass(frozen=True, slots=True)
class OfflineTap:
    """What a card gives where nobody can be asked: a token over offline terms and the word for its key."""

    token: bytes
    credential: bytes


def read_presentation(
    make_terms: Callable[[], PaymentTerms],
) -> CardDialogue[NfcAppPresentation | NfcSdmPresentation | OfflineTap]:
    """Select the payment application and have it sign, or else read the card's one-time link.

    Where the terms are offline, the application is asked for its credential too, and one that has none is
    not asked to sign, so that its running total stays as it is. A link proves nothing to a terminal that
    is offline, but is read all the same, since no terms were made: the sale refuses it.

    Ends with a presentation or a `CardError` within APDUS_MAX commands. After an error the card is to be
    asked again from the start, with a new dialogue and so a new nonce.

    Args:
        make_terms: called once the application is selected; returns terms with a nonce never used before.

    Raises:
        CardError: with a refusal code of wire/notices.py: `card_not_supported`, `card_locked`,
            `card_confirmation_required`, `card_blocked`, `card_changed`, `card_answer_invalid`; and where
            the terms are offline `card_needs_connection`, `card_allowance_exceeded`.
    """
    selected = yield from exchange(SELECT_APPLICATION)
    if selected.status_word == StatusWord.FILE_NOT_FOUND:
        return (yield from _read_link())
    profile = check_application(require_success(selected))
    terms = make_terms()
    if not terms.is_offline:
        return NfcAppPresentation(token=(yield from authorise_payment(terms)))
    check_can_pay_offline(profile)
    token = yield from authorise_payment(terms)
    return OfflineTap(token, (yield from fetch_credential(token)))


def _read_link() -> CardDialogue[NfcSdmPresentation]:
    message = yield from read_ndef_message()
    try:
        link = parse_sun_url(parse_uri_message(message))
    except EncodingError as error:
        raise CardError(str(error), code="card_not_supported") from None
    return NfcSdmPresentation(picc_data_hex=link.picc_data.hex().upper(), mac_hex=link.mac.hex().upper())
