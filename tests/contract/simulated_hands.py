"""Hands that do to simulated devices what a person is asked to do to a real one."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from simulators.cards.payment_card import PaymentCard
from simulators.cards.uid_tag import UidTag
from simulators.fields.pn532 import Pn532Device
from simulators.fields.udp_radio import UdpRadio
from simulators.fields.vpcd import VpcdSlot
from simulators.scanners.serial_gun import SerialGun
from simulators.screens.mjpeg import MjpegServer
from simulators.screens.picture_file import PictureFile
from simulators.screens.render import render_frame
from terminal.conformance.model import Action
from terminal.scanners.code_scanner import CODE_CHARS_MAX
from tests.wedge_host import WedgeStand
from wire.codes.numeric import make_numeric_code

KEY: Final = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
TEAR_AFTER_S: Final = 0.05
FIRST_CODE: Final = make_numeric_code("0" * 15)
OTHER_CODE: Final = make_numeric_code("1" * 15)
LONG_CODE: Final = "P1:" + "A1" * CODE_CHARS_MAX
FOREIGN_CODE: Final = "P1:%%%"
"""More of them, and worse ones, are in test_code_scanners.py."""
Does = Callable[[], str | None]


class SimulatedHands:
    """Does what it has a movement for; the rest can't be had here."""

    is_certain = True

    def __init__(self, movements: dict[Action, Does]) -> None:
        self._movements = movements

    def do(self, action: Action) -> str | None:
        """Do it, at once."""
        movement = self._movements.get(action)
        return None if movement is None else movement()


def field_hands(field: UdpRadio | Pn532Device | VpcdSlot) -> SimulatedHands:
    """Return the hands at a field."""
    seeds = iter(range(1, 1_000))

    def card() -> PaymentCard:
        return PaymentCard(KEY, rng=random.Random(next(seeds)))

    def tear() -> str:
        threading.Timer(TEAR_AFTER_S, field.remove).start()
        return ""

    movements: dict[Action, Does] = {
        Action.CLEAR: lambda: _done(field.remove()),
        Action.TAKE_AWAY: lambda: _done(field.remove()),
        Action.HOLD_CARD: lambda: _done(field.present(card())),
        Action.HOLD_TAG: lambda: _done(field.present(UidTag(bytes.fromhex("05112233445566")))),
        Action.TEAR: tear,
    }
    if isinstance(field, Pn532Device):
        movements |= {
            Action.HOLD_TWO: lambda: _done(field.present_two(card(), card())),
            Action.UNPLUG: lambda: _done(field.stop()),
            Action.PLUG_IN: lambda: _done(field.start()),
        }
    return SimulatedHands(movements)


def camera_hands(server: MjpegServer) -> SimulatedHands:
    """Return the hands before a network camera."""
    return _screen_hands(server.show, server.stop, server.start)


def file_hands(picture: PictureFile) -> SimulatedHands:
    """Return the hands before a camera that is a file."""
    return _screen_hands(picture.show, picture.path.unlink, lambda: picture.show(None))


def gun_hands(gun: SerialGun) -> SimulatedHands:
    """Return the hands at a scanner gun."""
    return SimulatedHands(
        {
            Action.HIDE_CODE: lambda: "",
            Action.SHOW_CODE: lambda: _shown(gun.scan, FIRST_CODE),
            Action.SHOW_OTHER: lambda: _shown(gun.scan, OTHER_CODE),
            Action.SHOW_LONG: lambda: _shown(gun.scan, LONG_CODE),
            Action.SHOW_FOREIGN: lambda: _shown(gun.scan, FOREIGN_CODE),
            Action.SCAN_HALF: lambda: _shown(gun.scan_half, FIRST_CODE),
            Action.UNPLUG: lambda: _done(gun.stop()),
            Action.PLUG_IN: lambda: _done(gun.start()),
        }
    )


def wedge_hands(stand: WedgeStand) -> SimulatedHands:
    """Return the hands at a scanner that types as a keyboard."""
    return SimulatedHands(
        {
            Action.HIDE_CODE: lambda: "",
            Action.SHOW_CODE: lambda: _shown(stand.present, FIRST_CODE),
            Action.SHOW_OTHER: lambda: _shown(stand.present, OTHER_CODE),
            Action.SHOW_LONG: lambda: _shown(stand.present, LONG_CODE),
            Action.SHOW_FOREIGN: lambda: _shown(stand.present, FOREIGN_CODE),
            Action.SCAN_HALF: lambda: _shown(stand.present_half, FIRST_CODE),
            Action.UNPLUG: lambda: _done(stand.scanner.pull()),
            Action.PLUG_IN: lambda: _done(stand.scanner.plug()),
        }
    )


def make_picture_file(folder: Path) -> PictureFile:
    """Make a camera that is a file."""
    return PictureFile(folder / "camera.png")


def _screen_hands(
    show: Callable[..., object], unplug: Callable[[], object], plug_in: Callable[[], object]
) -> SimulatedHands:

    def hold(text: str) -> str:
        show(render_frame(text, width=800, height=600))
        return text

    return SimulatedHands(
        {
            Action.HIDE_CODE: lambda: _done(show(None)),
            Action.SHOW_CODE: lambda: hold(FIRST_CODE),
            Action.SHOW_OTHER: lambda: hold(OTHER_CODE),
            Action.SHOW_LONG: lambda: hold(LONG_CODE),
            Action.SHOW_FOREIGN: lambda: hold(FOREIGN_CODE),
            Action.UNPLUG: lambda: _done(unplug()),
            Action.PLUG_IN: lambda: _done(plug_in()),
        }
    )


def _done(_: object) -> str:
    return ""


def _shown(scan: Callable[[str], object], text: str) -> str:
    scan(text)
    return text
