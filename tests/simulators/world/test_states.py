"""Cards and phones in states of their own, as a real driver and the wire's dialogue see them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import msgspec
import pytest
from aiohttp import web

from simulators.cards.payment_card import PaymentCard
from simulators.errors import SimulatorError, WorldFileInvalid
from simulators.world.file import load_world_file
from simulators.world.messages import (
    AllowanceOrder,
    AnswerKind,
    CloneOrder,
    CodeOrder,
    DecisionOrder,
    HeldState,
    PresentOrder,
    ScanOrder,
)
from simulators.world.world import World
from terminal.devices.paths import make_device
from terminal.scanners.code_scanner import CodeScanner
from tests.simulators.world.bench import (
    EURO,
    NOW_MS,
    WORLD,
    key_of,
    make_world,
    path_of,
    tap,
)
from wire import es256
from wire.codes.scanned import recognise
from wire.errors import CardError, TokenError
from wire.messages.base import dump_message
from wire.messages.payments import NfcAppPresentation, PaymentState, QrConsumerPresentation
from wire.messages.wallet import WaitingPayment, WaitingPayments, WalletPayment
from wire.money import Money
from wire.tokens.credential import parse_credential, read_credential
from wire.tokens.nfc_token import verify_nfc_token
from wire.tokens.qr_token import verify_qr_token
from wire.tokens.sign1 import parse_sign1


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (PresentOrder(thing="phone", held=HeldState.LOCKED), "card_locked"),
        (PresentOrder(thing="phone", held=HeldState.BLOCKED), "card_blocked"),
        (PresentOrder(thing="phone", held=HeldState.ASKING), "card_confirmation_required"),
        (PresentOrder(thing="phone", answer=AnswerKind.STALE), "card_changed"),
        (PresentOrder(thing="bank"), "card_not_supported"),
        (PresentOrder(thing="broken"), "card_answer_invalid"),
    ],
)
async def test_a_state_is_met_by_the_driver_and_is_over_at_the_next_tap(
    world: World, order: PresentOrder, code: str
) -> None:
    with pytest.raises(CardError) as caught:
        await tap(world, "radio", order)
    assert caught.value.code == code
    if order.thing == "phone":
        assert isinstance(await tap(world, "radio", PresentOrder(thing="phone")), NfcAppPresentation)


async def test_a_forged_tap_names_the_key_and_does_not_have_it(world: World) -> None:
    key = key_of(world.list_everything(), "applet")
    forged = await tap(world, "radio", PresentOrder(thing="applet", answer=AnswerKind.FORGED))
    honest = await tap(world, "radio", PresentOrder(thing="applet"))
    assert isinstance(forged, NfcAppPresentation)
    assert isinstance(honest, NfcAppPresentation)
    verify_nfc_token(parse_sign1(honest.token), key)
    with pytest.raises(TokenError) as caught:
        verify_nfc_token(parse_sign1(forged.token), key)
    assert caught.value.code == "token_invalid"


async def test_a_relayed_tap_is_signed_for_the_other_till(world: World) -> None:
    key = key_of(world.list_everything(), "applet")
    relayed = await tap(world, "radio", PresentOrder(thing="applet", relayed_terminal="ABCDEFGH"))
    assert isinstance(relayed, NfcAppPresentation)
    terms = verify_nfc_token(parse_sign1(relayed.token), key).terms
    assert (terms.terminal_id, terms.amount) == ("ABCDEFGH", Money(1250, EURO))


@pytest.mark.parametrize("thing", ["link-card", "tag", "bank"])
async def test_what_signs_nothing_has_no_state_of_its_signature(world: World, thing: str) -> None:
    with pytest.raises(SimulatorError, match="only a phone or applet card"):
        world.present("radio", PresentOrder(thing=thing, held=HeldState.LOCKED))


async def test_a_foreign_card_has_nothing_to_clone(world: World) -> None:
    with pytest.raises(SimulatorError, match="nothing to clone"):
        world.clone("bank", CloneOrder(name="copy"))


async def scan(world: World, order: CodeOrder) -> QrConsumerPresentation:
    scanner = cast(CodeScanner, make_device(path_of(world, "gun")))
    scanner.open()
    try:
        await world.scan("gun", ScanOrder(code=order))
        text = await asyncio.to_thread(scanner.wait_for_code, 3_000)
    finally:
        scanner.close()
    assert text is not None
    presentation = recognise(text)
    assert isinstance(presentation, QrConsumerPresentation)
    return presentation


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (CodeOrder(phone="phone", forged=True), "token_invalid"),
        (CodeOrder(phone="phone", ahead_s=600), "token_not_yet_valid"),
    ],
)
async def test_a_code_that_is_wrong_in_one_way_is_wrong_in_no_other(
    world: World, order: CodeOrder, code: str
) -> None:
    key = key_of(world.list_everything(), "phone")
    wrong, right = await scan(world, order), await scan(world, CodeOrder(phone="phone"))
    verify_qr_token(parse_sign1(right.token), key, now_ms=NOW_MS)
    with pytest.raises(TokenError) as caught:
        verify_qr_token(parse_sign1(wrong.token), key, now_ms=NOW_MS)
    assert caught.value.code == code


async def test_a_forged_allowance_is_in_order_but_for_its_signer(world: World) -> None:
    await world.set_allowance("phone", AllowanceOrder(amount_minor=5000, forged=True))
    phone = world.card_in_hand("phone")
    assert isinstance(phone, PaymentCard)
    assert phone.allowance is not None
    claims = read_credential(parse_credential(phone.allowance.credential))
    key_id = es256.key_id_of(key_of(world.list_everything(), "phone"))
    assert (claims.device_key_id, claims.allowance) == (key_id, Money(5000, EURO))


async def test_what_signs_nothing_holds_no_allowance(world: World) -> None:
    with pytest.raises(SimulatorError, match="signs nothing"):
        await world.set_allowance("link-card", AllowanceOrder(amount_minor=5000, forged=True))


@pytest.mark.parametrize("agreed", [True, False])
async def test_an_owner_answers_everything_that_waits(world_path: Path, agreed: bool) -> None:
    decided: list[bool] = []
    waiting = [WaitingPayment(
        payment_id=f"01J{number:023d}", merchant_id="M" * 15, merchant_name="Mill", location_name="Lane",
        amount_minor=900, currency="EUR", instrument_label="Phone", code="confirm_above_limit",
        confirm_by_ms=NOW_MS,
    ) for number in (1, 2)]  # fmt: skip

    async def list_waiting(_: web.Request) -> web.Response:
        return web.Response(
            body=dump_message(WaitingPayments(payments=waiting)), content_type="application/json"
        )

    async def decide(request: web.Request) -> web.Response:
        decided.append(msgspec.json.decode(await request.read())["agreed"])
        payment = WalletPayment(
            payment_id=waiting[0].payment_id,
            state=PaymentState.SUCCEEDED,
            amount_minor=900,
            currency="EUR",
            merchant_name="Mill",
            location_name="Lane",
            decided_ms=NOW_MS,
        )
        return web.Response(body=dump_message(payment), content_type="application/json")

    app = web.Application()
    app.add_routes(
        [web.get("/v1/wallet/confirmations", list_waiting), web.post("/v1/wallet/confirmations", decide)]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        world = make_world(world_path, f"http://127.0.0.1:{runner.addresses[0][1]}")
        answered = await world.decide("phone", DecisionOrder(agreed=agreed))
    finally:
        await runner.cleanup()
    assert (answered.count, decided) == (2, [agreed, agreed])


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('funds = "10.00"', 'funds = "10.00"\nfrosen = true', "frosen"),
        ('funds = "10.00"', 'funds = "10.00"\npin = "12"', "pin"),
        ('name = "phone"\nwallet = "ana"', 'name = "phone"\nwallet = "ana"\nallowance = "-1"', "allowance"),
        ('name = "bank"', 'name = "phone"', "phone"),
    ],
)
def test_a_state_that_is_misspelt_is_an_error_that_names_it(
    world_path: Path, old: str, new: str, named: str
) -> None:
    world_path.write_text(WORLD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(WorldFileInvalid, match=named):
        load_world_file(world_path)
