"""A disk in memory: what was synced survives a power loss, and of what was not, anything may.

It offers what a terminal's journal asks of a folder (its `Disk` and `DiskFile`), in the steps a kernel takes:
bytes are written, then synced; a name is given, then synced. At every step the power may go, and before every
write there may be no room.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BLOCK_BYTES: Final = 64
"""What is written at once. A real block is larger, and so are its tears; lines here are short."""


class DiskStep(StrEnum):
    """A moment within a write at which the power may go."""

    WRITTEN = "written"
    """The bytes are with the kernel and not yet on the disk."""
    SYNCED = "synced"
    """The bytes are on the disk, and whoever wrote them does not know it yet."""
    RENAMED = "renamed"
    """The name means the new file, and that is not yet on the disk."""
    CUT = "cut"
    """The file is shorter, and that is not yet on the disk."""


class PowerLost(BaseException):
    """The machine is off at this very moment.

    No `Exception`: nobody on the machine gets to handle this.
    """


@dataclass(slots=True)
class _Content:
    """One file's bytes: as the kernel shows them, and as they surely are on the disk."""

    shown: bytes = b""
    synced: bytes = b""


class SimulatedDisk:
    """A folder of files; whoever lost power opens it again and finds what survived."""

    def __init__(
        self,
        rng: random.Random,
        *,
        on_step: Callable[[DiskStep], None] = lambda step: None,
        has_room: Callable[[], bool] = lambda: True,
        keeps_promises: bool = True,
    ) -> None:
        """Make an empty disk.

        Args:
            rng: seeded; decides what a power loss leaves of what was not synced.
            on_step: told every step; may raise PowerLost.
            has_room: asked before every write; without room a part of it is written, and an error raised.
            keeps_promises: without, the disk says that it has synced and has not.
        """
        self._rng = rng
        self._on_step = on_step
        self._has_room = has_room
        self._keeps_promises = keeps_promises
        self._names: dict[str, _Content] = {}
        self._synced_names: dict[str, _Content] = {}
        self._life = 0
        self.torn_count = 0
        """How many files a power loss has left with half of what was being written."""

    def read(self, name: str) -> bytes:
        """Return a file's content; nothing where there is no such file."""
        content = self._names.get(name)
        return b"" if content is None else content.shown

    def synced(self, name: str) -> bytes:
        """Return what of a file would be there after a power loss at this moment, whatever the luck."""
        content = self._synced_names.get(name)
        return b"" if content is None else content.synced

    def open(self, name: str) -> SimulatedFile:
        """Open a file to add to it, making it if it is not there; its name survives power loss."""
        content = self._names.setdefault(name, _Content())
        self._synced_names[name] = content
        return SimulatedFile(self, name, content)

    def write(self, name: str, content: bytes) -> None:
        """Put a whole file in place: it survives power loss when this returns."""
        file = self.open(name)
        file.replace(content)
        file.cut(len(content))

    def lose_power(self) -> None:
        """Forget what was not synced, or keep some of it; open files are closed."""
        self._life += 1
        for name in sorted(self._names.keys() | self._synced_names.keys()):
            shown, synced = self._names.get(name), self._synced_names.get(name)
            kept = shown if shown is synced else self._rng.choice((shown, synced))
            if kept is None:
                self._names.pop(name, None)
                self._synced_names.pop(name, None)
                continue
            kept.shown = kept.synced = self._survive(kept)
            self._names[name] = self._synced_names[name] = kept

    def _survive(self, content: _Content) -> bytes:
        shown, synced = content.shown, content.synced
        if shown == synced:
            return shown
        if not shown.startswith(synced):
            # Cut, and perhaps written to since: the length is one thing, so it is one or the other.
            return self._rng.choice((shown, synced))
        tail = shown[len(synced) :]
        kept = tail[: self._rng.randint(0, len(tail))]
        if kept and self._rng.random() < 0.3:
            # The length was on the disk before a block was.
            hole = self._rng.randrange(len(kept))
            kept = kept[:hole] + bytes(len(kept[hole : hole + BLOCK_BYTES])) + kept[hole + BLOCK_BYTES :]
        if kept != tail and kept:
            self.torn_count += 1
        return synced + kept

    # What its files do

    def step(self, step: DiskStep) -> None:
        """Let the power go, or not."""
        self._on_step(step)

    def give_room(self, content: bytes) -> bytes:
        """Return how much of this finds room."""
        if self._has_room():
            return content
        return content[: self._rng.randint(0, max(0, len(content) - 1))]

    def check_open(self, life: int) -> None:
        """Return if a file that was opened in this life of the machine is still open."""
        if life != self._life:
            raise OSError(errno.EBADF, "this file was open when the power went")

    def put(self, name: str, content: _Content) -> None:
        """Let the name mean another file."""
        self._names[name] = content

    def sync(self, name: str, content: _Content) -> None:
        """Make a file's bytes and name durable."""
        if self._keeps_promises:
            content.synced = content.shown
            self._synced_names[name] = self._names[name]

    @property
    def life(self) -> int:
        """How often the power went."""
        return self._life


class SimulatedFile:
    """One open file."""

    def __init__(self, disk: SimulatedDisk, name: str, content: _Content) -> None:
        self._disk = disk
        self._name = name
        self._content = content
        self._life = disk.life

    def append(self, content: bytes) -> None:
        """Add bytes and sync them.

        Raises:
            OSError: there was no room; a part of them may be there.
            PowerLost: any part of them may be there.
        """
        self._disk.check_open(self._life)
        self._write(self._content, content)
        self._disk.step(DiskStep.WRITTEN)
        self._disk.sync(self._name, self._content)
        self._disk.step(DiskStep.SYNCED)

    def replace(self, content: bytes) -> None:
        """Put other content in the place of the whole file; durable after the next `cut`.

        Raises:
            OSError: there was no room; the old content stands.
            PowerLost: the old or the new content stands.
        """
        self._disk.check_open(self._life)
        new = _Content()
        self._write(new, content)
        new.synced = new.shown
        self._disk.step(DiskStep.SYNCED)
        self._disk.put(self._name, new)
        self._content = new
        self._disk.step(DiskStep.RENAMED)

    def cut(self, size_bytes: int) -> None:
        """Keep that many bytes and sync them, with the file's name.

        Raises:
            PowerLost: it may have been cut, or not.
        """
        self._disk.check_open(self._life)
        shown = self._content.shown
        # As ftruncate does: a file that is shorter becomes longer by zeros.
        self._content.shown = shown[:size_bytes].ljust(size_bytes, b"\x00")
        self._disk.step(DiskStep.CUT)
        self._disk.sync(self._name, self._content)
        self._disk.step(DiskStep.SYNCED)

    def close(self) -> None:
        """Do nothing: what is synced is synced."""

    def _write(self, target: _Content, content: bytes) -> None:
        fitting = self._disk.give_room(content)
        target.shown += fitting
        if len(fitting) < len(content):
            raise OSError(errno.ENOSPC, "no space left on device")
