"""What a till's code and a counter's sticker say: EMVCo merchant-presented, with a link to this gateway."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from gateway.config import CodeSettings
from gateway.merchants.model import EnrolledTerminal
from wire.codes.merchant_qr.profile import MerchantQr, dump_merchant_qr
from wire.messages.intents import COUNTER_LINK, INTENT_LINK
from wire.money import Money, find_currency

NAME_CHARS_MAX: Final = 25
CITY_CHARS_MAX: Final = 15
"""Lengths of objects 59 and 60 (EMVCo MPM, table 3.7)."""
_UNPRINTABLE_NAME: Final = "Merchant"


class TillCodeWriter:
    """Writes codes whose links lead to one gateway."""

    def __init__(self, public_url: str, settings: CodeSettings) -> None:
        """Prepare a writer.

        Args:
            public_url: the gateway's, without a final slash; its scheme is not part of a code.
        """
        self._host = urlsplit(public_url).netloc
        self._settings = settings

    def write_intent(self, terminal: EnrolledTerminal, intent_id: str, amount: Money, order_id: str) -> str:
        """Return the text of a code for one payment.

        Raises:
            PaymentCodeError: the gateway's address is too long for a code.
        """
        reference = order_id if len(order_id) <= NAME_CHARS_MAX else None
        return self._write(terminal, INTENT_LINK + intent_id, amount, reference)

    def write_sticker(self, terminal: EnrolledTerminal) -> str:
        """Return the text of a counter's sticker, which serves for ever; raises as `write_intent`."""
        return self._write(terminal, COUNTER_LINK + terminal.terminal.terminal_id, None, None)

    def _write(
        self, terminal: EnrolledTerminal, link: str, amount: Money | None, reference: str | None
    ) -> str:
        return dump_merchant_qr(
            MerchantQr(
                url=self._host + link,
                merchant_name=_ascii(terminal.merchant.name, NAME_CHARS_MAX),
                city=_ascii(terminal.location.name, CITY_CHARS_MAX),
                country=self._settings.country,
                category=self._settings.category,
                currency=find_currency(terminal.merchant.currency),
                amount=amount,
                reference=reference,
                terminal_label=terminal.terminal.terminal_id,
            )
        )


def _ascii(text: str, chars_max: int) -> str:
    """Return what of a name fits a code; wallets show the registered name anyway."""
    printable = "".join(char for char in text if char.isascii() and char.isprintable()).strip()
    return " ".join(printable[:chars_max].split()) or _UNPRINTABLE_NAME
