"""A payment confirmed by its card: challenged by the gateway, over the line to where the card lies."""

from __future__ import annotations

from terminal.cards.gateway import CardGateway
from terminal.errors import GatewayUnreachable, PresentationRefused
from terminal.gateway_client.answers import is_about, is_consistent
from terminal.readers.card_line import CardLine
from wire.messages.cards import STEPS_MAX, CardPurpose
from wire.messages.payments import PaymentAnswer, PaymentRequest


async def confirm_by_card(
    gateway: CardGateway, payment_id: str, request: PaymentRequest, line: CardLine
) -> PaymentAnswer:
    """Carry the gateway's challenge to a card and its proof back; return where the payment stands then.

    Args:
        request: what the payment is about; only an answer about it is believed.

    Raises:
        CardRemoved: the card left; held there again it may still confirm.
        PresentationRefused: `card_differs`, `card_not_supported` and others; it is not the one.
        ReaderUnavailable: the reader failed. GatewayRefused: `payment_not_open` and others.
        GatewayUnreachable: no answer; the payment may be confirmed: ask about the attempt.
    """
    asked = await gateway.begin(CardPurpose.CONFIRM, payment_id=payment_id)
    for _ in range(STEPS_MAX):
        if asked.command is None:
            break
        asked = await gateway.hand_in(asked, await line.transmit(asked.command))
    if asked.code is not None:
        raise PresentationRefused("the card did not confirm", code=asked.code)
    payment = asked.payment
    if payment is None or not is_about(payment, request) or not is_consistent(payment):
        raise GatewayUnreachable("the gateway's answer is about something else than was sent")
    return payment
