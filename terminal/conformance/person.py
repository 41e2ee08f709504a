"""A person at a real device: asked on the screen, and watched only through the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from terminal.conformance.model import Action

NOT_BY_HAND: Final = frozenset({Action.SHOW_LONG, Action.SCAN_HALF})
"""What nobody can do at a counter; the simulated devices are held to it."""


class PersonHands:
    """Asks whoever stands there; whether it was done is for the device to see."""

    is_certain = False

    def __init__(self, say: Callable[[str], object], language: str) -> None:
        """Ask in a language of wire/notices, a line at a time."""
        self._say = say
        self._language = language

    def do(self, action: Action) -> str | None:
        """Ask for something to be done."""
        if action in NOT_BY_HAND:
            return None
        self._say(f"  > {action.text(self._language)}")
        return ""
