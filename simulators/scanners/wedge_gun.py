"""A handheld scanner that types as a keyboard, for a program that runs under umockdev.

The kernel here may have no uinput, so the device is umockdev's: a file that describes it, one that answers
what is asked of it, and a pipe through which it types while the program runs. The program sees
`/dev/input/event0` as it would see a scanner's, and needs no rights for it.

    gun = WedgeGun(folder)
    process = subprocess.Popen([*gun.command, "tapscan-terminal", "run"])
    gun.plug_in()
    gun.scan("P1:…")
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from simulators.errors import SimulatorError

DEVICE: Final = "/dev/input/event0"
PLUG_S_MAX: Final = 30.0
"""How long is waited for the program to begin."""
SCAN_CHARS_MAX: Final = 4_096
"""Longest text a scanner types; more fills the pipe while nobody reads."""

_SHIFT: Final = 42
_ENTER: Final = 28
_EV_KEY: Final = 1
_KEY_COUNT: Final = 768
_NAME_BYTES: Final = 256
"""What python-evdev asks for; the number of the question includes the size of the answer."""

_DESCRIPTION: Final = """\
P: /devices/platform/scanner/input/input0/event0
N: input/event0
E: DEVNAME=/dev/input/event0
E: ID_INPUT=1
E: ID_INPUT_KEYBOARD=1
E: MAJOR=13
E: MINOR=64
E: SUBSYSTEM=input
A: dev=13:64
"""


class WedgeJammed(SimulatorError):
    """Nobody runs the program that is to be typed to, or what is to be typed has no key."""

    code = "gun_jammed"


def _find_keys() -> dict[str, tuple[int, bool]]:
    """Return for each character its key and whether Shift is held, on the US layout."""
    plain = {1: "\x1b1234567890-=", 15: "\tqwertyuiop[]", 30: "asdfghjkl;'`", 43: "\\zxcvbnm,./", 57: " "}
    shifted = {1: "\x1b!@#$%^&*()_+", 15: "\tQWERTYUIOP{}", 30: 'ASDFGHJKL:"~', 43: "|ZXCVBNM<>?"}
    return {
        character: (first + place, is_shifted)
        for rows, is_shifted in ((shifted, True), (plain, False))
        for first, row in rows.items()
        for place, character in enumerate(row)
        if character.isprintable()
    }


KEYS: Final = MappingProxyType(_find_keys())


class WedgeGun:
    """The scanner; its files are in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Write the files; the folder must exist.

        Raises:
            OSError: they can't be written.
        """
        self._description = folder / "scanner.umockdev"
        self._answers = folder / "scanner.ioctl"
        self._pipe = folder / "scanner.script"
        self._description.write_text(_DESCRIPTION, encoding="ascii")
        self._answers.write_text(_dump_answers(), encoding="ascii")
        self._writer = -1
        os.mkfifo(self._pipe)

    @property
    def command(self) -> list[str]:
        """What stands before the command line of the program that is to have the scanner."""
        return [
            "umockdev-run",
            f"--device={self._description}",
            f"--ioctl={DEVICE}={self._answers}",
            f"--script={DEVICE}={self._pipe}",
            "--",
        ]

    def plug_in(self) -> None:
        """Wait for the program and begin to type to it.

        Raises:
            WedgeJammed: it did not begin within PLUG_S_MAX.
        """
        self.pull_out()
        deadline_s = time.monotonic() + PLUG_S_MAX
        while self._writer < 0:
            try:
                self._writer = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                # Nobody has opened the other end yet.
                if time.monotonic() > deadline_s:
                    raise WedgeJammed("nobody runs under umockdev here") from None
                time.sleep(0.01)
        os.set_blocking(self._writer, True)

    def pull_out(self) -> None:
        """Type no more; may be called twice."""
        writer, self._writer = self._writer, -1
        if writer >= 0:
            os.close(writer)

    def scan(self, text: str, *, suffix: int | None = _ENTER, pause_ms: int = 0) -> None:
        """Type a code as a scanner does: every key pressed and released, Shift where it is needed.

        Args:
            suffix: the key it ends with; None for a scan that breaks off.
            pause_ms: before every key that goes down or up.

        Raises:
            WedgeJammed: a character has no key, or nobody runs the program any more.
        """
        if len(text) > SCAN_CHARS_MAX or any(character not in KEYS for character in text):
            raise WedgeJammed("no keyboard types this")
        changes = [change for character in text for change in strokes(*KEYS[character])]
        # In one go: on a loaded machine, pauses between writes would be pauses of the scanner's.
        self.press([*changes, *(strokes(suffix) if suffix is not None else ())], pause_ms)

    def press(self, changes: Iterable[tuple[int, int]], pause_ms: int = 0) -> None:
        """Type single changes: key codes with 1 for pressed, 2 for held on, 0 for released."""
        if self._writer < 0:
            raise WedgeJammed("the scanner is not plugged in")
        # A line for each: umockdev hands a line over whole, and only so much of it fits.
        reports = (_event(_EV_KEY, key, value) + _event(0, 0, 0) for key, value in changes)
        lines = b"".join(b"r %d %s\n" % (pause_ms, _escape(report)) for report in reports)
        try:
            with os.fdopen(os.dup(self._writer), "wb", buffering=0) as pipe:
                rest = memoryview(lines)
                while rest:
                    rest = rest[pipe.write(rest) or 0 :]
        except BrokenPipeError:
            raise WedgeJammed("nobody runs under umockdev any more") from None


def strokes(key: int, is_shifted: bool = False) -> list[tuple[int, int]]:
    """Return the changes of one key typed, with Shift held where it is needed, for `WedgeGun.press`."""
    typed = [(key, 1), (key, 0)]
    return [(_SHIFT, 1), *typed, (_SHIFT, 0)] if is_shifted else typed


def _event(kind: int, code: int, value: int) -> bytes:
    # struct input_event; its time is left out, which leaves every byte below 128.
    return struct.pack("@qqHHi", 0, 0, kind, code, value)


def _escape(data: bytes) -> bytes:
    """Write bytes as umockdev's scripts have them (script-format.txt): control codes as ^ and a letter."""
    return b"".join(
        b"^" + bytes([byte + 64]) if byte < 32 else b"^`" if byte == ord("^") else bytes([byte])
        for byte in data
    )


def _dump_answers() -> str:
    """Write what umockdev answers to python-evdev's questions; EVIOCGRAB it answers by itself."""
    keys = bytearray(_KEY_COUNT // 8)
    for key in range(1, 120):
        keys[key // 8] |= 1 << key % 8
    rows = (
        ("EVIOCGVERSION 0", (0x010001).to_bytes(4, "little")),
        ("EVIOCGID 0", struct.pack("<HHHH", 3, 0x1234, 1, 1)),
        ("EVIOCGNAME(0) 18", b"Simulated scanner".ljust(_NAME_BYTES, b"\0")),
        ("EVIOCGPHYS(0) 1", bytes(_NAME_BYTES)),
        ("EVIOCGUNIQ(0) 1", bytes(_NAME_BYTES)),
        # EV_SYN, EV_KEY and EV_MSC; then which keys, and which scan codes.
        ("EVIOCGBIT(0) 4", bytes([0b10011, 0, 0, 0])),
        ("EVIOCGBIT(1) 96", bytes(keys)),
        ("EVIOCGBIT(4) 96", bytes([0b10000]).ljust(len(keys), b"\0")),
        ("EVIOCGEFFECTS 0", bytes(4)),
    )
    return "".join(f"{question} {answer.hex().upper()}\n" for question, answer in rows)
