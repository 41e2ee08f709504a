"""A device of a till: a card reader or a code scanner, told apart by what it waits for."""

from __future__ import annotations

from typing import TypeAlias, TypeGuard

from terminal.readers.card_reader import CardReader
from terminal.scanners.code_scanner import CodeScanner

Device: TypeAlias = CardReader | CodeScanner


def is_card_reader(device: Device) -> TypeGuard[CardReader]:
    """Say whether cards are held to it."""
    return hasattr(device, "wait_for_card")


def is_code_scanner(device: Device) -> TypeGuard[CodeScanner]:
    """Say whether codes are shown to it."""
    return hasattr(device, "wait_for_code")
