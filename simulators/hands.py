"""One card or one phone in a developer's hand: what `tapscan-sim card` and `tapscan-sim phone` do."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from simulators.errors import GatewaySilent, SimulatorError
from simulators.key_files import write_card_keys
from simulators.world.belongings import (
    APPLET_CARD,
    BLANK_CARD,
    CARD_KEY_BATCH,
    NTAG424_CARD,
    PHONE_KEY,
    UID_TAG,
    Card,
    draw_card_keys,
    draw_key_of,
    draw_uid_of,
    make_blank_card,
    make_ntag_memory,
    make_uid_tag,
    view_of,
)
from simulators.world.messages import CodeForm

if TYPE_CHECKING:
    from simulators.phones.phone import Phone
    from simulators.screens.render import GreyImage
    from wire.es256 import PrivateKey

HOLD_S: Final = 1.0
"""How long the card lies on the field at each tap."""
RENEW_SHARE: Final = 2
"""A shown code is made anew when one part in so many of its life has passed."""

WriteLine = Callable[[str], object]
_INSTRUMENT_KINDS: Final = {
    "payment": APPLET_CARD,
    "ntag424": NTAG424_CARD,
    "uid": UID_TAG,
    "blank": BLANK_CARD,
}


@dataclass(frozen=True, slots=True)
class CardSetup:
    """Options of `tapscan-sim card`."""

    kind: str
    field: str
    port: int
    slot: str
    name: str
    seed: int
    counter: int
    every_s: float
    keys_folder: Path | None


@dataclass(frozen=True, slots=True)
class PhoneSetup:
    """Options of `tapscan-sim phone`."""

    form: str
    output: str
    file: Path
    port: int
    distortion: str
    cap: str
    currency: str
    life_s: int
    age_s: int
    gateway: str | None
    name: str
    seed: int
    counter: int


def run_card(setup: CardSetup, write_line: WriteLine, credential: bytes | None = None) -> None:
    """Put a card on a field and tap it until Ctrl-C, or until the developer's input ends.

    Args:
        credential: what the card may spend where a till is offline, if it may.

    Raises:
        DeviceOff, SimulatorError: the field or the card cannot be had like this.
    """
    from simulators.world.devices import make_field, parse_slot
    from simulators.world.file import FieldKind

    card = make_card(setup, credential)
    field = make_field(FieldKind(setup.field), port=setup.port, slot=parse_slot(setup.slot))
    field.start()
    try:
        write_line(f"reader path for terminal.toml: {field.reader_path}")
        for line in registration_lines(setup):
            write_line(line)
        for _ in _taps(setup.every_s, write_line):
            field.present(card)
            time.sleep(HOLD_S)
            field.remove()
    except KeyboardInterrupt:
        write_line("")
    finally:
        field.stop()


def draw_card_key(setup: CardSetup) -> PrivateKey:
    """Draw the key that an applet card signs with.

    Raises:
        SimulatorError: another kind of card signs nothing of ours.
    """
    if _INSTRUMENT_KINDS[setup.kind] != APPLET_CARD:
        raise SimulatorError("only an applet card can hold an allowance")
    return draw_key_of(setup.seed, APPLET_CARD, setup.name)


def make_card(setup: CardSetup, credential: bytes | None = None) -> Card:
    """Make the card of that kind, name and seed, its counter where the developer says it stands."""
    from simulators.cards.ntag424_card import Ntag424Card
    from simulators.cards.offline_allowance import OfflineAllowance
    from simulators.cards.payment_card import PaymentCard
    from simulators.seeds import make_rng

    kind = _INSTRUMENT_KINDS[setup.kind]
    # The counter is part of the generator's name: a second run must not repeat the first one's draws.
    rng = make_rng(setup.seed, kind, setup.name, str(setup.counter))
    if kind == UID_TAG:
        return make_uid_tag(setup.seed, setup.name)
    if kind == BLANK_CARD:
        return make_blank_card(setup.seed, setup.name)
    if kind == APPLET_CARD:
        allowance = None if credential is None else OfflineAllowance(credential)
        key = draw_key_of(setup.seed, kind, setup.name)
        return PaymentCard(key, rng=rng, counter=setup.counter, allowance=allowance)
    keys, uid = draw_card_keys(setup.seed), draw_uid_of(setup.seed, setup.name)
    return Ntag424Card(make_ntag_memory(uid, keys, counter=setup.counter), rng=rng)


def registration_lines(setup: CardSetup) -> list[str]:
    """Return what to type so that a gateway accepts the card; writes key files where asked to."""
    kind = _INSTRUMENT_KINDS[setup.kind]
    if kind == UID_TAG:
        return ["a plain tag: no wallet accepts it, and the till says uid_only_card"]
    if kind == BLANK_CARD:
        return [
            "a chip as delivered, kept while this runs; order it: tapscan-gateway card order --wallet WALLET",
            "make it a card: tapscan-terminal card personalise --code CODE",
        ]
    view = view_of(setup.seed, kind, setup.name)
    command = f"tapscan-gateway instrument add --wallet WALLET --kind {kind}"
    if kind == APPLET_CARD:
        return [f"register it: {command} --public-key {view.public_key_hex}"]
    folder = setup.keys_folder
    lines = [f"register it: {command} --uid {view.uid_hex} --batch {CARD_KEY_BATCH}"]
    if folder is None:
        return [*lines, "the batch's keys: run again with --keys-folder FOLDER"]
    meta, master = write_card_keys(draw_card_keys(setup.seed).view, folder)
    add_keys = f"tapscan-gateway card-keys add --batch {CARD_KEY_BATCH}"
    return [f"first: {add_keys} --meta-key-file {meta} --file-master-file {master}", *lines]


def run_phone(
    setup: PhoneSetup, write_line: WriteLine, now_ms: Callable[[], int], entropy: Callable[[int], bytes]
) -> None:
    """Show a phone's code once in the terminal or in a file, or as a camera's stream until Ctrl-C.

    Raises:
        GatewaySilent: a numeric code was wanted and there is none.
        SimulatorError, MoneyError: an option that means nothing.
    """
    view = view_of(setup.seed, PHONE_KEY, setup.name)
    write_line(
        "register it: tapscan-gateway instrument add --wallet WALLET"
        f" --kind {PHONE_KEY} --public-key {view.public_key_hex}"
    )
    phone = _make_phone(setup)

    def make_text() -> str:
        return _make_text(setup, phone, now_ms(), entropy)

    if setup.output == "terminal":
        write_line(_draw_in_characters(make_text()))
    elif setup.output == "image":
        _write_image(setup, make_text())
        write_line(f"written: {setup.file}")
    else:
        _stream(setup, make_text, write_line)


def _taps(every_s: float, write_line: WriteLine) -> Iterator[None]:
    """Yield whenever the card is to be tapped."""
    while every_s > 0:
        yield
        time.sleep(max(0.0, every_s - HOLD_S))
    write_line("Enter taps, Ctrl-D or Ctrl-C ends")
    for _ in sys.stdin:
        yield


def _make_phone(setup: PhoneSetup) -> Phone:
    from simulators.phones.phone import Phone
    from simulators.seeds import make_rng
    from simulators.world.belongings import draw_token_pan

    return Phone(
        draw_key_of(setup.seed, PHONE_KEY, setup.name),
        rng=make_rng(setup.seed, PHONE_KEY, setup.name, str(setup.counter)),
        counter=setup.counter,
        token_pan=draw_token_pan(setup.seed, setup.name),
    )


def _make_text(setup: PhoneSetup, phone: Phone, now_ms: int, entropy: Callable[[int], bytes]) -> str:
    from wire.money import find_currency, parse_money

    if setup.form not in {form.value for form in CodeForm}:
        raise SimulatorError(f"there is no form named {setup.form}")
    if setup.form == CodeForm.NUMERIC:
        return asyncio.run(_ask_numeric(setup, now_ms, entropy))
    cap = parse_money(setup.cap, find_currency(setup.currency))
    return phone.pay_code(now_ms - setup.age_s * 1000, cap, form=setup.form, life_s=setup.life_s)


async def _ask_numeric(setup: PhoneSetup, now_ms: int, entropy: Callable[[int], bytes]) -> str:
    import aiohttp

    from simulators.phones.wallet_app import WalletApp, exchange_over

    if setup.gateway is None:
        raise GatewaySilent("a numeric code comes from a gateway: say which with --gateway")
    async with aiohttp.ClientSession() as session:
        app = WalletApp(
            exchange_over(session),
            setup.gateway.rstrip("/"),
            draw_key_of(setup.seed, PHONE_KEY, setup.name),
            now_ms=lambda: now_ms,
            entropy=entropy,
        )
        return (await app.ask_payment_code()).code


def _draw_in_characters(text: str) -> str:
    import io

    import qrcode

    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=2)
    code.add_data(text)
    out = io.StringIO()
    code.print_ascii(out=out, invert=True)
    return f"{out.getvalue()}{text}"


def _picture(setup: PhoneSetup, text: str) -> GreyImage:
    from simulators.screens.distortions import DISTORTIONS, picture_of

    if setup.distortion not in DISTORTIONS:
        raise SimulatorError(f"there is no distortion named {setup.distortion}: {', '.join(DISTORTIONS)}")
    return picture_of(setup.distortion, text, width=640, height=480, seed=setup.seed).pixels


def _write_image(setup: PhoneSetup, text: str) -> None:
    from PIL import Image

    Image.fromarray(_picture(setup, text)).save(setup.file)


def _stream(setup: PhoneSetup, make_text: Callable[[], str], write_line: WriteLine) -> None:
    from simulators.world.devices import make_screen

    screen = make_screen(setup.port)
    screen.start()
    write_line(f"reader path for terminal.toml: camera:{screen.url}")
    try:
        while True:
            screen.show(_picture(setup, make_text()))
            time.sleep(setup.life_s / RENEW_SHARE)
    except KeyboardInterrupt:
        write_line("")
    finally:
        screen.stop()
