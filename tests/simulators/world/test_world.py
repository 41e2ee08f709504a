"""A world's devices are read by the terminal's own drivers, and its people obey their orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from simulators.errors import ProcessFailed
from simulators.world.client import WorldClient
from simulators.world.control import serve_control
from simulators.world.messages import (
    CloneOrder,
    CodeForm,
    CodeOrder,
    Inventory,
    PresentOrder,
    ScanOrder,
    ShowOrder,
)
from simulators.world.world import World
from terminal.devices.paths import make_device
from terminal.errors import CardRemoved
from terminal.readers.card_reader import CardReader, CardTechnology
from terminal.scanners.code_scanner import CodeScanner
from tests.simulators.world.bench import (
    EURO,
    NOW_MS,
    WORLD,
    key_of,
    make_terms,
    make_world,
    path_of,
    read_card,
    tap,
    with_reader,
)
from wire.cards.dialogue import hold_dialogue
from wire.cards.ntag424.commands import CardChannel, get_key_version, get_version, select_application
from wire.cards.ntag424.keys import diversify_file_key
from wire.cards.ntag424.link import SunLink, verify_sun_link
from wire.codes.scanned import recognise
from wire.errors import TokenError
from wire.http_signatures import SignatureTag, parse_signed_request, verify_signed_request
from wire.messages.base import dump_message
from wire.messages.payments import (
    NfcAppPresentation,
    NfcSdmPresentation,
    QrConsumerPresentation,
)
from wire.messages.wallet import PaymentCodeAnswer
from wire.money import Money
from wire.tokens.nfc_token import verify_nfc_token
from wire.tokens.qr_token import verify_qr_token
from wire.tokens.sign1 import parse_sign1


async def see(world: World, device: str, act: Callable[[], object]) -> str:
    """Open a scanner, do something, and return the text it then reads."""

    def wait(scanner: CodeScanner) -> str | None:
        for _ in range(20):
            text = scanner.wait_for_code(500)
            if text is not None:
                return text
        return None

    scanner = make_device(path_of(world, device))
    await asyncio.to_thread(scanner.open)
    try:
        await act()  # type: ignore[misc]
        text = await asyncio.to_thread(wait, scanner)  # type: ignore[arg-type]
    finally:
        await asyncio.to_thread(scanner.close)
    assert text is not None
    return text


@pytest.mark.parametrize("device", ["radio", "chip"])
@pytest.mark.parametrize("thing", ["phone", "applet"])
async def test_a_signing_card_is_read_by_the_driver_and_signs_with_the_listed_key(
    world: World, device: str, thing: str
) -> None:
    presentation = await tap(world, device, PresentOrder(thing=thing))

    assert isinstance(presentation, NfcAppPresentation)
    claims = verify_nfc_token(parse_sign1(presentation.token), key_of(world.list_everything(), thing))
    assert claims.terms == make_terms()
    assert claims.counter == 1


async def test_a_link_card_opens_with_the_keys_of_the_listed_batch(world: World) -> None:
    presentation = await tap(world, "radio", PresentOrder(thing="link-card"))

    assert isinstance(presentation, NfcSdmPresentation)
    sun_tap = open_link(world.list_everything(), presentation)
    listed = next(view for view in world.list_everything().things if view.name == "link-card")
    assert sun_tap == (bytes.fromhex(listed.uid_hex), 1)


def open_link(inventory: Inventory, presentation: NfcSdmPresentation) -> tuple[bytes, int]:
    link = SunLink(bytes.fromhex(presentation.picc_data_hex), bytes.fromhex(presentation.mac_hex))
    master = bytes.fromhex(inventory.card_keys.file_master_hex)
    tapped = verify_sun_link(
        link,
        meta_key=bytes.fromhex(inventory.card_keys.meta_key_hex),
        file_key_of=lambda uid: diversify_file_key(master, uid),
    )
    return tapped.uid, tapped.counter


async def test_a_clone_is_left_behind_by_the_card_it_was_copied_from(world: World) -> None:
    await tap(world, "radio", PresentOrder(thing="link-card"))
    world.clone("link-card", CloneOrder(name="copy"))

    genuine = await tap(world, "radio", PresentOrder(thing="link-card"))
    copied = await tap(world, "radio", PresentOrder(thing="copy"))

    assert isinstance(genuine, NfcSdmPresentation)
    assert isinstance(copied, NfcSdmPresentation)
    assert open_link(world.list_everything(), copied) == open_link(world.list_everything(), genuine)


async def test_a_tampered_card_signs_the_other_amount_and_only_this_once(world: World) -> None:
    key = key_of(world.list_everything(), "applet")

    tampered = await tap(world, "radio", PresentOrder(thing="applet", tamper_amount_minor=1))
    honest = await tap(world, "radio", PresentOrder(thing="applet"))

    assert isinstance(tampered, NfcAppPresentation)
    assert isinstance(honest, NfcAppPresentation)
    amounts = [verify_nfc_token(parse_sign1(each.token), key).terms.amount for each in (tampered, honest)]
    assert amounts == [Money(1, EURO), Money(1250, EURO)]


async def test_a_torn_card_is_gone_for_the_driver_and_works_at_the_next_tap(world: World) -> None:
    with pytest.raises(CardRemoved):
        await tap(world, "radio", PresentOrder(thing="phone", tear_at_apdu=2))

    assert isinstance(await tap(world, "radio", PresentOrder(thing="phone")), NfcAppPresentation)


async def test_a_plain_tag_is_seen_as_one(world: World) -> None:
    def technology(reader: CardReader) -> CardTechnology | None:
        connection = reader.wait_for_card(3_000)
        return connection.technology if connection is not None else None

    world.present("radio", PresentOrder(thing="tag"))

    assert await with_reader(world, "radio", technology) is CardTechnology.UID_ONLY


async def test_a_chip_as_delivered_shows_its_number_and_zero_keys(world: World) -> None:
    def ask(reader: CardReader) -> tuple[bytes | None, int]:
        connection = reader.wait_for_card(3_000)
        assert connection is not None
        hold_dialogue(select_application(CardChannel()), connection.transmit)
        uid = hold_dialogue(get_version(), connection.transmit).uid
        return uid, hold_dialogue(get_key_version(CardChannel(), 0), connection.transmit)

    world.present("radio", PresentOrder(thing="chip-as-delivered"))

    listed = next(view for view in world.list_everything().things if view.name == "chip-as-delivered")
    assert listed.kind == "blank_card"
    assert await with_reader(world, "radio", ask) == (bytes.fromhex(listed.uid_hex), 0)


async def test_a_card_is_in_one_place_only(world: World) -> None:
    world.present("radio", PresentOrder(thing="applet"))
    world.present("second-radio", PresentOrder(thing="applet"))

    assert await with_reader(world, "radio", lambda reader: reader.wait_for_card(300)) is None
    assert isinstance(await with_reader(world, "second-radio", read_card), NfcAppPresentation)


async def test_a_camera_reads_the_code_a_phone_shows(world: World) -> None:
    code = CodeOrder(phone="phone", cap_minor=700)

    text = await see(
        world, "camera", lambda: world.show("camera", ShowOrder(code=code, distortion="inverted"))
    )

    presentation = recognise(text)
    assert isinstance(presentation, QrConsumerPresentation)
    key = key_of(world.list_everything(), "phone")
    assert verify_qr_token(parse_sign1(presentation.token), key, now_ms=NOW_MS).cap == Money(700, EURO)


async def test_a_code_made_too_long_ago_has_expired(world: World) -> None:
    code = CodeOrder(phone="phone", form=CodeForm.BASE45, life_s=60, age_s=120)

    text = await see(world, "gun", lambda: world.scan("gun", ScanOrder(code=code)))

    presentation = recognise(text)
    assert isinstance(presentation, QrConsumerPresentation)
    key = key_of(world.list_everything(), "phone")
    with pytest.raises(TokenError) as refused:
        verify_qr_token(parse_sign1(presentation.token), key, now_ms=NOW_MS)
    assert refused.value.code == "token_expired"


async def test_a_screenshot_is_the_same_code_again(world: World) -> None:
    fresh = ScanOrder(code=CodeOrder(phone="phone"))

    first = await see(world, "gun", lambda: world.scan("gun", fresh))
    again = await see(world, "gun", lambda: world.scan("gun", ScanOrder(screenshot_of="phone")))
    other = await see(world, "gun", lambda: world.scan("gun", fresh))

    assert again == first
    assert other != first


async def test_a_phone_asks_the_gateway_for_a_numeric_code_signed_with_its_own_key(world_path: Path) -> None:
    world = make_world(world_path)
    key = key_of(world.list_everything(), "phone")
    url = ""

    async def issue(request: web.Request) -> web.Response:
        body = await request.read()
        signed = parse_signed_request(
            method="POST",
            target_uri=url + request.path,
            headers=request.headers.items(),
            body=body,
            tags={SignatureTag.DEVICE},
        )
        verify_signed_request(signed, key, now_ms=NOW_MS)
        answer = PaymentCodeAnswer(code="470000000000000001", expires_ms=NOW_MS + 60_000)
        return web.Response(status=201, body=dump_message(answer), content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/wallet/payment-codes", issue)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    world = make_world(world_path, url)
    await world.start()
    try:
        order = ScanOrder(code=CodeOrder(phone="phone", form=CodeForm.NUMERIC))
        text = await see(world, "gun", lambda: world.scan("gun", order))
    finally:
        await world.stop()
        await runner.cleanup()

    assert text == "470000000000000001"


def test_a_world_is_the_same_from_the_same_seed_only(world_path: Path) -> None:
    same = make_world(world_path).list_everything() == make_world(world_path).list_everything()
    world_path.write_text(WORLD.replace("seed = 7", "seed = 8"), encoding="utf-8")
    other = make_world(world_path).list_everything()
    world_path.write_text(WORLD, encoding="utf-8")
    mine = make_world(world_path).list_everything()

    assert same
    assert all(
        a.public_key_hex != b.public_key_hex or not a.public_key_hex
        for a, b in zip(mine.things, other.things, strict=True)
    )
    assert mine.card_keys != other.card_keys


def test_a_thing_keeps_its_keys_when_another_joins_the_world(world_path: Path) -> None:
    before = make_world(world_path).list_everything().things
    world_path.write_text(WORLD + '[[phones]]\nname = "new"\nwallet = "ana"\n', encoding="utf-8")

    after = make_world(world_path).list_everything().things

    assert set(map(repr, before)) < set(map(repr, after))


# --- the control interface ---------------------------------------------------------------------------


@pytest.fixture
async def client(world: World) -> AsyncIterator[WorldClient]:
    async with serve_control(world) as url, aiohttp.ClientSession() as session:
        yield WorldClient(url, session)


async def test_orders_arrive_over_the_control_interface(world: World, client: WorldClient) -> None:
    assert await client.list_everything() == world.list_everything()

    await client.clone("applet", CloneOrder(name="copy"))
    await client.present("radio", PresentOrder(thing="copy"))
    assert isinstance(await with_reader(world, "radio", read_card), NfcAppPresentation)

    await client.remove("radio")
    assert await with_reader(world, "radio", lambda reader: reader.wait_for_card(300)) is None

    show = ShowOrder(code=CodeOrder(phone="phone"))
    assert recognise(await see(world, "camera", lambda: client.show("camera", show)))
    await client.blank("camera")
    order = ScanOrder(text="470000000000000001")
    text = await see(world, "gun", lambda: client.scan("gun", order))
    assert text == order.text


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda client: client.present("nowhere", PresentOrder(thing="phone")), "not_found.*nowhere"),
        (lambda client: client.present("radio", PresentOrder(thing="nobody")), "not_found.*nobody"),
        (lambda client: client.present("slot", PresentOrder(thing="phone")), "device_off.*pcscd"),
        (lambda client: client.present("radio", PresentOrder(thing="tag", tear_at_apdu=1)), "tear"),
        (
            lambda client: client.present("radio", PresentOrder(thing="link-card", tamper_amount_minor=1)),
            "tamper",
        ),
        (lambda client: client.clone("tag", CloneOrder(name="copy")), "nothing to clone"),
        (lambda client: client.clone("applet", CloneOrder(name="phone")), "taken"),
        (lambda client: client.show("camera", ShowOrder(screenshot_of="phone")), "no code yet"),
        (lambda client: client.show("camera", ShowOrder()), "one thing to show"),
        (lambda client: client.scan("gun", ScanOrder(text="x", screenshot_of="phone")), "one thing"),
        (
            lambda client: client.show(
                "camera", ShowOrder(code=CodeOrder(phone="phone"), distortion="upside_down")
            ),
            "upside_down",
        ),
        (
            lambda client: client.scan(
                "gun", ScanOrder(code=CodeOrder(phone="phone", form=CodeForm.NUMERIC))
            ),
            "gateway",
        ),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_with_its_reason(
    client: WorldClient, call: Callable[[WorldClient], object], complaint: str
) -> None:
    with pytest.raises(ProcessFailed, match=complaint):
        await call(client)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b'{"thing": "phone"}', 415),
        ("application/json", b'{"thing": "phone"', 400),
        ("application/json", b'{"thing": "phone", "power": 11}', 400),
        ("application/json", b'{"thing": "phone", "tear_at_apdu": 0}', 400),
    ],
)
async def test_a_body_that_is_no_order_is_refused(
    world: World, content_type: str, body: bytes, status: int
) -> None:
    async with serve_control(world) as url, aiohttp.ClientSession() as session:
        headers = {"Content-Type": content_type}
        async with session.post(f"{url}/v1/fields/radio/present", data=body, headers=headers) as answer:
            assert answer.status == status


async def test_a_device_this_machine_lacks_is_off_and_says_why(world: World) -> None:
    slot = next(view for view in world.list_everything().devices if view.name == "slot")

    assert slot.reader_path == ""
    assert "pcscd" in slot.off_reason
