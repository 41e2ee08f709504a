"""The devices of a world: radio fields, screens before cameras, scanner guns; each on or off.

A device that this machine cannot give is off and says why; the others go on.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from simulators.errors import DeviceOff, NoSuchThing, SimulatorError
from simulators.fields.field import Field
from simulators.fields.private_pcscd import VirtualSlot
from simulators.world.file import FieldKind, WorldFile
from simulators.world.messages import DeviceView

if TYPE_CHECKING:
    # A screen needs OpenCV; a world without one does not import it.
    from simulators.scanners.serial_gun import SerialGun
    from simulators.screens.mjpeg import MjpegServer

SCREEN_KIND: Final = "screen"
GUN_KIND: Final = "gun"
CARD_ANSWER_S_MAX: Final = 60.0
"""A real card may keep pcscd waiting for as long as it likes; longer than any till waits."""

T = TypeVar("T")


@dataclass(slots=True)
class Devices:
    """Everything a till can be connected to, by the names of the world file."""

    fields: dict[str, Field] = dataclasses.field(default_factory=dict)
    screens: dict[str, MjpegServer] = dataclasses.field(default_factory=dict)
    guns: dict[str, SerialGun] = dataclasses.field(default_factory=dict)
    views: list[DeviceView] = dataclasses.field(default_factory=list)
    links: Path | None = None
    """Where serial devices keep their names while they are unplugged, as udev's links do."""

    def kind_of(self, name: str) -> str:
        """Return the kind of a device that is on; errors as `find_field`."""
        self._find({**self.fields, **self.screens, **self.guns}, name)
        return next(view.kind for view in self.views if view.name == name)

    def find_field(self, name: str) -> Field:
        """Return a field; `NoSuchThing` if the world has none of that name, `DeviceOff` if it is off."""
        return self._find(self.fields, name)

    def find_screen(self, name: str) -> MjpegServer:
        """Return a screen; errors as `find_field`."""
        return self._find(self.screens, name)

    def find_gun(self, name: str) -> SerialGun:
        """Return a scanner gun; errors as `find_field`."""
        return self._find(self.guns, name)

    def stop(self) -> None:
        """Close every device; may be called twice."""
        for field in self.fields.values():
            field.stop()
        for screen in self.screens.values():
            screen.stop()
        for gun in self.guns.values():
            gun.stop()
        if self.links is not None:
            shutil.rmtree(self.links, ignore_errors=True)

    def _find(self, devices: dict[str, T], name: str) -> T:
        if name in devices:
            return devices[name]
        for view in self.views:
            if view.name == name and view.off_reason:
                raise DeviceOff(f"{name} is off: {view.off_reason}")
        raise NoSuchThing(f"there is no such device named {name}")


def open_devices(file: WorldFile, slots: Sequence[VirtualSlot] = ()) -> Devices:
    """Open every device of a world file.

    Args:
        slots: of pcscd's virtual readers, for the fields of that kind in the order of the file.
    """
    devices = Devices(links=Path(tempfile.mkdtemp(prefix="tapscan-world-")))
    assert devices.links is not None
    unused_slots = iter(slots)
    for entry in file.fields:
        slot = next(unused_slots, None) if entry.kind is FieldKind.VPCD else None
        with _noting(devices, entry.name, entry.kind):
            field = make_field(entry.kind, slot=slot, link=devices.links / entry.name)
            field.start()
            devices.fields[entry.name] = field
            devices.views.append(_on(entry.name, entry.kind, field.reader_path))
    for screen_entry in file.screens:
        with _noting(devices, screen_entry.name, SCREEN_KIND):
            screen = make_screen()
            screen.start()
            devices.screens[screen_entry.name] = screen
            devices.views.append(_on(screen_entry.name, SCREEN_KIND, f"camera:{screen.url}"))
    for gun_entry in file.guns:
        with _noting(devices, gun_entry.name, GUN_KIND):
            gun = make_gun(devices.links / gun_entry.name)
            gun.start()
            devices.guns[gun_entry.name] = gun
            devices.views.append(_on(gun_entry.name, GUN_KIND, f"serial:{gun.device_path}"))
    return devices


def make_field(
    kind: FieldKind, *, port: int = 0, slot: VirtualSlot | None = None, link: Path | None = None
) -> Field:
    """Make a field, not yet started.

    Args:
        port: of a UDP radio; 0 takes any free one.
        slot: of pcscd's virtual reader, for that kind.
        link: the name a serial reader keeps over being unplugged; None for its pseudo-terminal's own.

    Raises:
        DeviceOff: no virtual slot is known.
    """
    if kind is FieldKind.UDP:
        from simulators.fields.udp_radio import UdpRadio

        return UdpRadio(port)
    if kind is FieldKind.PN532:
        from simulators.fields.pn532 import Pn532Device

        return Pn532Device(None if link is None else str(link))
    if slot is None:
        raise DeviceOff("there is no pcscd with the vpcd driver here")
    from simulators.fields.vpcd import VpcdSlot

    return VpcdSlot(slot.port, reader_name=slot.reader_name, answer_s_max=CARD_ANSWER_S_MAX)


def parse_slot(text: str) -> VirtualSlot:
    """Read a virtual slot written as `READER NAME:PORT`.

    Raises:
        SimulatorError: it is not written so.
    """
    name, _, port = text.rpartition(":")
    if not name or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise SimulatorError("a slot is written READER NAME:PORT")
    return VirtualSlot(name, int(port))


def dump_slot(slot: VirtualSlot) -> str:
    """Write a virtual slot; the inverse of `parse_slot`."""
    return f"{slot.reader_name}:{slot.port}"


def make_screen(port: int = 0) -> MjpegServer:
    """Make a screen before a camera, not yet started; port 0 takes any free one."""
    from simulators.screens.mjpeg import MjpegServer

    return MjpegServer(port)


def make_gun(link: Path | None = None) -> SerialGun:
    """Make a scanner gun on a pseudo-terminal, not yet started; `link` as for `make_field`."""
    from simulators.scanners.serial_gun import SerialGun

    return SerialGun(link)


@contextmanager
def _noting(devices: Devices, name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (DeviceOff, OSError, ImportError) as error:
        reason = str(error) or type(error).__name__
        devices.views.append(DeviceView(name=name, kind=kind, off_reason=reason))


def _on(name: str, kind: str, reader_path: str) -> DeviceView:
    return DeviceView(name=name, kind=kind, reader_path=reader_path)
