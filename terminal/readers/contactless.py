"""Contactless readers through nfcpy: USB readers, a PN532 on a serial port, and nfcpy's UDP radio.

Memory tags are recognised by what they show at anticollision and never activated: nothing they hold could
pay, and nfcpy's probing of them is slow. Between two looks for a card the field is off.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import time
from types import ModuleType
from typing import Any, Final

from terminal.device_conditions import condition_of
from terminal.errors import (
    CardRemoved,
    ConfigurationError,
    PresentationRefused,
    ReaderNotInstalled,
    ReaderUnavailable,
    TerminalError,
)
from terminal.readers.card_reader import CardTechnology
from terminal.readers.response_completion import complete_response

SCHEME: Final = "contactless:"
SERIAL_DRIVERS: Final = ("pn532", "arygon")
SENSE_PAUSE_S: Final = 0.01
"""Between two looks for a card: the field's rest, and what the tap waits for at most on top of the look."""
RARE_EVERY: Final = 20
"""Type B and F cards are looked for in turn, at every twentieth look: no card of ours is one, but its holder
gets an answer. Not over UDP, where a look that finds nothing lasts a second."""
TRANSMIT_MS_MAX: Final = 3_000
"""One command with all its waiting-time extensions, retries and parts."""
FRAMES_MAX: Final = 512
"""Frames of one command: 256 chained parts each way would be a 64 KiB answer."""

_IN_LIST_PASSIVE_TARGET = 0x4A
_ISO_DEP_BIT = 0x20
_TYPE_A, _TYPE_B, _TYPE_F = "106A", "106B", "212F"


class ContactlessReader:
    """One reader that nfcpy drives.

    Args:
        path: `contactless:` and then nfcpy's own path (`usb`, `tty:USB0:pn532`, `udp:127.0.0.1:9901`), or
            `tty:/dev/pts/3:pn532` for a serial port of any name.

    Raises:
        ConfigurationError: no such driver.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._device = path.removeprefix(SCHEME)
        _serial_port(self._device)
        self._rare = () if self._device.startswith("udp") else (_TYPE_B, _TYPE_F)
        self._round = 0
        self._refusing = False
        self._link: _Link | None = None

    def open(self) -> None:
        """Find the reader and take it; errors as CardReader.open."""
        self.close()
        nfc = _load_nfcpy()
        try:
            frontend = _open_frontend(nfc, self._device)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the reader can't be used now
            raise _unavailable(error) from None
        self._link = _Link(nfc, frontend)

    def wait_for_card(self, timeout_ms: int) -> ContactlessConnection | None:
        """Return the card in the field, looking for one; errors as CardReader.wait_for_card."""
        link = self._opened()
        deadline = time.monotonic() + timeout_ms / 1000
        while True:
            connection = self._look(link)
            left_s = deadline - time.monotonic()
            if connection is not None or left_s <= 0:
                return connection
            time.sleep(min(SENSE_PAUSE_S, left_s))

    def close(self) -> None:
        """Give the reader back; never raises."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _opened(self) -> _Link:
        if self._link is None:
            raise ReaderUnavailable("not open")
        return self._link

    def _look(self, link: _Link) -> ContactlessConnection | None:
        target = link.sense((_TYPE_A, *self._rare_turn()))
        if target is None:
            self._refusing = False
            return None
        if target.brty == _TYPE_A and link.can_count_cards:
            target = self._look_for_another(link)
            if target is None:
                return None
        if not _speaks_apdus(target):
            return ContactlessConnection(link, target, None)
        return self._activate(link, target)

    def _look_for_another(self, link: _Link) -> Any | None:
        """Return the card again if it is the only one; which of two would pay is nobody's to choose."""
        if link.count_cards() < 2:
            # Counting halted it; looking again begins with a new field, in which it answers.
            return link.sense((_TYPE_A,))
        link.rest()
        self._refuse_once("another card is in the field", "card_changed")
        return None

    def _rare_turn(self) -> tuple[str, ...]:
        """Return the rare technology whose turn it is, one at a time so that a tap waits for one only."""
        self._round += 1
        turn, rest = divmod(self._round, RARE_EVERY)
        return (self._rare[turn % len(self._rare)],) if self._rare and rest == 0 else ()

    def _activate(self, link: _Link, target: Any) -> ContactlessConnection | None:
        try:
            tag = link.activate(target)
        except PresentationRefused as refusal:
            self._refuse_once(str(refusal), refusal.code)
            return None
        if tag is None:
            return None  # It left again, or it is too far away: the next look will tell.
        self._refusing = False
        return ContactlessConnection(link, target, tag)

    def _refuse_once(self, detail: str, code: str) -> None:
        """Raise a refusal, unless what lies there was refused already."""
        if not self._refusing:
            self._refusing = True
            raise PresentationRefused(detail, code=code)


class ContactlessConnection:
    """One card in the field."""

    def __init__(self, link: _Link, target: Any, tag: Any | None) -> None:
        self._link = link
        self._target = target
        self._tag = tag
        self._over = False
        self.technology = CardTechnology.UID_ONLY if tag is None else CardTechnology.ISO_DEP

    def transmit(self, command: bytes) -> bytes:
        """Send one command; errors as CardConnection.transmit."""
        if self._over or self._tag is None:
            raise CardRemoved("this connection is over")
        self._link.begin_command()
        try:
            return complete_response(self._exchange, command)
        except Exception:
            self._over = True
            raise

    def is_present(self) -> bool:
        """Ask the card; a memory tag is looked for again instead."""
        try:
            if self._tag is None:
                return self._link.senses_again(self._target)
            self._link.begin_command()
            return bool(self._tag.is_present)
        except Exception:  # noqa: BLE001 - a reader that fails here says so at the next look for a card
            return False

    def close(self) -> None:
        """Switch the field off; never raises."""
        self._over = True
        self._link.rest()

    def _exchange(self, command: bytes) -> bytes:
        return self._link.transceive(self._tag, command)


class _Link:
    """nfcpy's frontend with bounds: what its tag classes call, plus our translation of its errors."""

    def __init__(self, nfc: ModuleType, frontend: Any) -> None:
        self._nfc = nfc
        self._frontend = frontend
        self._deadline = 0.0
        self._frames_left = 0

    # What nfcpy's tag classes use of a frontend.

    @property
    def max_send_data_size(self) -> int:
        return int(self._frontend.max_send_data_size)

    @property
    def max_recv_data_size(self) -> int:
        return int(self._frontend.max_recv_data_size)

    def exchange(self, send_data: bytes, timeout: float) -> bytearray:
        """Pass one frame on, unless the card has had all the time one command may take.

        nfcpy itself follows waiting-time extensions and chained answers for as long as the card likes.
        """
        left_s = self._deadline - time.monotonic()
        self._frames_left -= 1
        if left_s <= 0 or self._frames_left < 0:
            raise PresentationRefused("the card's answer never ends", code="card_answer_invalid")
        try:
            answer: bytearray = self._frontend.exchange(send_data, min(timeout, left_s))
        except self._nfc.clf.CommunicationError:
            raise  # the card's, and for nfcpy's retries to deal with
        except Exception as error:  # noqa: BLE001 - anything else is the reader's: termios, USB, the chip
            raise _unavailable(error) from None
        return answer

    # What the connection and the reader use.

    def begin_command(self) -> None:
        self._deadline = time.monotonic() + TRANSMIT_MS_MAX / 1000
        self._frames_left = FRAMES_MAX

    def sense(self, technologies: tuple[str, ...]) -> Any | None:
        targets = [self._nfc.clf.RemoteTarget(technology) for technology in technologies]
        try:
            return self._frontend.sense(*targets, iterations=1)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the reader has failed
            raise _unavailable(error) from None

    @property
    def can_count_cards(self) -> bool:
        """Whether this chip can say how many cards there are: those of the PN53x family can."""
        chipset = getattr(self._frontend.device, "chipset", None)
        return int(getattr(chipset, "in_list_passive_target_max_target", 1)) >= 2

    def count_cards(self) -> int:
        """Return how many Type A cards the chip finds, two at most; they are halted afterwards.

        NXP UM0701-02, section 7.3.5. nfcpy's own call of this command asks for one card whatever it is told.
        """
        chipset = self._frontend.device.chipset
        try:
            found = chipset.command(_IN_LIST_PASSIVE_TARGET, bytearray((2, 0)), timeout=1.0)
        except chipset.Error:
            return 1  # The chip does not like the question, so it can't tell.
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the reader has failed
            raise _unavailable(error) from None
        return int(found[0]) if found else 0

    def senses_again(self, target: Any) -> bool:
        """Say whether a card of the same kind is in the field; a random UID is a new one every time."""
        found = self.sense((target.brty,))
        if found is None:
            return False
        if found.brty != _TYPE_A:
            return True
        same_uid = found.sdd_res == target.sdd_res or (_is_random(found) and _is_random(target))
        return bool(same_uid and found.sel_res == target.sel_res)

    def activate(self, target: Any) -> Any | None:
        self.begin_command()
        try:
            return self._nfc.tag.activate(self, target)
        except ReaderUnavailable:
            raise
        except Exception:  # noqa: BLE001 - nfcpy indexes into a card's answers without looking
            raise PresentationRefused("the card can't be activated", code="card_not_supported") from None

    def transceive(self, tag: Any, command: bytes) -> bytes:
        try:
            return bytes(tag.transceive(command))
        except TerminalError:
            raise
        except self._nfc.clf.CommunicationError:
            raise CardRemoved("the card stopped answering") from None
        except self._nfc.tag.TagCommandError as error:
            if error.errno == self._nfc.tag.PROTOCOL_ERROR:
                raise PresentationRefused("blocks out of order", code="card_answer_invalid") from None
            raise CardRemoved("the card stopped answering") from None
        except Exception:  # noqa: BLE001 - nfcpy indexes into a card's answers without looking
            raise PresentationRefused("the answer is no block", code="card_answer_invalid") from None

    def rest(self) -> None:
        """Switch the field off, which is what nfcpy does when asked to look for nothing."""
        # A reader that fails here says so at the next look for a card.
        with contextlib.suppress(Exception):
            self._frontend.sense()

    def close(self) -> None:
        # It is being given back, whatever state it is in.
        with contextlib.suppress(Exception):
            self._frontend.close()


def _speaks_apdus(target: Any) -> bool:
    if target.brty == _TYPE_A:
        return bool(target.sel_res) and bool(target.sel_res[0] & _ISO_DEP_BIT)
    return bool(target.brty == _TYPE_B)


def _is_random(target: Any) -> bool:
    """ISO/IEC 14443-3 section 6.5.4: a single-size UID that begins with 08 is drawn at power-up."""
    return len(target.sdd_res) == 4 and target.sdd_res[0] == 0x08


def _serial_port(device: str) -> tuple[str, str] | None:
    """Split `tty:/dev/pts/3:pn532` into port and driver; None for what nfcpy's own paths express.

    Raises:
        ConfigurationError: no such driver.
    """
    scheme, _, rest = device.partition(":")
    port, _, driver = rest.rpartition(":")
    if scheme != "tty" or not port.startswith("/"):
        return None
    if driver not in SERIAL_DRIVERS:
        raise ConfigurationError(f"a serial reader is one of {', '.join(SERIAL_DRIVERS)}")
    return port, driver


def _open_frontend(nfc: ModuleType, device: str) -> Any:
    frontend = nfc.ContactlessFrontend()
    serial_port = _serial_port(device)
    if serial_port is not None:
        frontend.device = _open_serial(nfc, *serial_port)
    elif not frontend.open(device):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return frontend


def _open_serial(nfc: ModuleType, port: str, driver: str) -> Any:
    """Open a port of any name: nfcpy's own paths know only names like ttyUSB0, its drivers take any."""
    transport = nfc.clf.transport.TTY(port)
    try:
        device = importlib.import_module(f"nfc.clf.{driver}").init(transport)
    except BaseException:
        transport.close()
        raise
    device._path = port  # what nfcpy's own opening does, for its messages
    return device


def _load_nfcpy() -> ModuleType:
    # nfcpy logs every frame at its lower levels; tokens and UIDs must never reach a log.
    logging.getLogger("nfc").setLevel(logging.CRITICAL)
    try:
        nfc = importlib.import_module("nfc")
        for name in ("nfc.clf", "nfc.clf.transport", "nfc.tag", "nfc.tag.tt4"):
            importlib.import_module(name)
    except (ImportError, OSError):
        raise ReaderNotInstalled("nfcpy is not installed: contactless readers are off") from None
    return nfc


def _unavailable(error: Exception) -> ReaderUnavailable:
    """Name a driver's error by its system message or its kind, never by text that may hold frames."""
    if isinstance(error, ReaderUnavailable):
        return error
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return ReaderUnavailable(f"the reader failed: {reason}", code=condition_of(error))
