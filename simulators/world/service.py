"""A pcscd that belongs to one world, with as many virtual slots as the world has fields of that kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulators.errors import DeviceOff
from simulators.fields.private_pcscd import PcscdUnavailable, PrivatePcscd
from simulators.world.file import FieldKind, WorldFile

SLOTS_PER_READER = 2


@contextmanager
def own_pcscd(file: WorldFile) -> Iterator[PrivatePcscd | None]:
    """Run a pcscd for the block; None where the world has no such field.

    Raises:
        DeviceOff: it can't run on this machine; the text says what is missing.
    """
    slot_count = sum(field.kind is FieldKind.VPCD for field in file.fields)
    if slot_count == 0:
        yield None
        return
    reader_count = -(-slot_count // SLOTS_PER_READER)
    pcscd = PrivatePcscd([f"Tapscan World {number + 1}" for number in range(reader_count)])
    try:
        pcscd.start()
    except PcscdUnavailable as error:
        pcscd.stop()
        raise DeviceOff(str(error)) from None
    try:
        yield pcscd
    finally:
        pcscd.stop()
