"""Conversations with cards over HTTP: signed by a till, and nothing secret in any answer."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.holders.service import CARD_KEY_BYTES
from simulators.cards.ntag424_card import Ntag424Card
from tests.card_bench import UID, make_chip
from wire.cards.ntag424.card_profile import KeySlot, derive_card_keys
from wire.messages.base import dump_message
from wire.messages.cards import (
    CARD_SESSIONS_TARGET,
    CardAnswerRequest,
    CardPurpose,
    CardSessionAnswer,
    CardSessionRequest,
)

NOW_MS = 1_767_225_600_000
META_KEY, FILE_MASTER = b"m" * CARD_KEY_BYTES, b"f" * CARD_KEY_BYTES


async def order_card(shop: Any) -> str:
    await shop.office.holders.add_card_key_batch(1, META_KEY, FILE_MASTER, now_ms=NOW_MS)
    issued = await shop.office.cards.order(shop.phone.wallet_id, None, None, now_ms=NOW_MS)
    return str(issued.code)


async def begin(till: Any, purpose: CardPurpose, **terms: Any) -> Any:
    request = CardSessionRequest(session_id=till.new_id(), purpose=purpose, **terms)
    return await till.call(
        "POST", CARD_SESSIONS_TARGET, dump_message(request), idempotency_key=request.session_id
    )


async def hand_in(till: Any, asked: CardSessionAnswer, answer: bytes) -> Any:
    request = CardAnswerRequest(answer_id=till.new_id(), step=asked.step, answer=answer)
    target = f"{CARD_SESSIONS_TARGET}/{asked.session_id}/answers"
    return await till.call("POST", target, dump_message(request), idempotency_key=request.answer_id)


async def carry(till: Any, card: Ntag424Card, first: Any) -> tuple[CardSessionAnswer, list[bytes]]:
    """Carry a conversation to its end; return it and every body that the till saw."""
    bodies = [first.body]
    asked = msgspec.json.decode(first.body, type=CardSessionAnswer)
    while asked.command is not None:
        answer = await hand_in(till, asked, card.transmit(asked.command))
        assert answer.status == 200, answer.body
        bodies.append(answer.body)
        asked = msgspec.json.decode(answer.body, type=CardSessionAnswer)
    return asked, bodies


async def test_a_till_makes_a_card_and_sees_no_key(shop: Any) -> None:
    till, code, card = await shop.enrol(), await order_card(shop), make_chip(1)
    card.power_on()
    first = await begin(till, CardPurpose.PERSONALISE, code=code)
    assert first.status == 201
    done, bodies = await carry(till, card, first)
    assert done.state == "done"
    assert done.card is not None
    assert done.card.status == "active"
    keys = derive_card_keys(META_KEY, FILE_MASTER, UID)
    assert [cell.key for cell in card.memory.keys] == [keys.of(slot) for slot in KeySlot]
    seen = b"".join(bodies) + b"".join(
        msgspec.json.decode(body, type=CardSessionAnswer).command or b"" for body in bodies
    )
    assert not any(secret in seen for secret in (*map(keys.of, KeySlot), META_KEY, FILE_MASTER, UID))


async def test_stages_only_go_forward(shop: Any) -> None:
    till, code, card = await shop.enrol(), await order_card(shop), make_chip(1)
    card.power_on()
    _, bodies = await carry(till, card, await begin(till, CardPurpose.PERSONALISE, code=code))
    answers = [msgspec.json.decode(body, type=CardSessionAnswer) for body in bodies]
    numbers = [answer.stage_number for answer in answers]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, answers[0].stage_count + 1))


async def test_a_wrong_code_and_a_lost_conversation_are_problems(shop: Any) -> None:
    till = await shop.enrol()
    await order_card(shop)
    wrong = await begin(till, CardPurpose.PERSONALISE, code="0000-0000-0000")
    assert (wrong.status, wrong.code) == (403, "card_code_invalid")
    lost = CardSessionAnswer(
        session_id=till.new_id(),
        state="asking",
        step=0,
        stage="look",
        stage_number=1,
        stage_count=1,  # type: ignore[arg-type]
    )
    answer = await hand_in(till, lost, b"\x90\x00")
    assert (answer.status, answer.code) == (409, "card_session_over")


async def test_another_till_has_no_part_in_a_conversation(shop: Any) -> None:
    till = await shop.enrol()
    await order_card(shop)
    asked = msgspec.json.decode((await begin(till, CardPurpose.VERIFY)).body, type=CardSessionAnswer)
    pending = await shop.office.merchants.add_terminal(
        shop.pending.terminal.merchant_id, shop.pending.terminal.location_id, now_ms=NOW_MS
    )
    other = shop.caller(77)
    assert (await other.enrol(pending.enrolment_code)).status == 200
    answer = await hand_in(other, asked, b"\x90\x00")
    assert (answer.status, answer.code) == (409, "card_session_over")


async def test_a_stranger_begins_nothing(shop: Any) -> None:
    answer = await begin(shop.caller(50), CardPurpose.VERIFY)
    assert (answer.status, answer.code) == (401, "terminal_unknown")


async def test_the_id_of_a_message_is_its_key(shop: Any) -> None:
    till = await shop.enrol()
    request = CardSessionRequest(session_id=till.new_id(), purpose=CardPurpose.VERIFY)
    answer = await till.call("POST", CARD_SESSIONS_TARGET, dump_message(request))
    assert (answer.status, answer.code) == (400, "malformed")
