"""Owns a code scanner: a camera is looked through while armed, a handheld one is listened to all the time."""

from __future__ import annotations

import time
from typing import Final

import structlog

from terminal.errors import PresentationRefused
from terminal.presentations import Noticed, Presented, PresentedInVain
from terminal.scanners.code_scanner import CodeScanner
from terminal.supervision import health
from terminal.supervision.arming import Arming, Switch
from terminal.supervision.code_flood import CodeFlood
from terminal.supervision.health import Tenure
from terminal.supervision.owner import WAIT_MS, Deliver, Owner
from wire.codes.scanned import is_payment_code, recognise
from wire.errors import PaymentCodeError

IDLE_DRAIN_MS: Final = 250
"""How often an idle camera is emptied, so that no code of before a sale is taken for one of it."""
DRAIN_CODES_MAX: Final = 3
"""Codes thrown away at arming: what a camera had buffered. It sees what is before it again."""
CODES_PER_PICTURE_MAX: Final = 8
"""Codes looked at beside a payment code."""
SIGHTING_GAP_MS: Final = 1_000
"""A camera's code that was gone for less is still the same one being held there."""

_CAMERA: Final = "camera:"
_NS_PER_MS: Final = 1_000_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CodeOwner(Owner):
    """Owns a code scanner."""

    _device: CodeScanner

    def __init__(self, device: CodeScanner, switch: Switch, deliver: Deliver, tenure: Tenure) -> None:
        super().__init__(device, switch, deliver, tenure)
        self._served: Arming | None = None
        self._held: tuple[str, int] | None = None
        self._flood = CodeFlood()

    def _serve(self) -> None:
        try:
            if self._device.path.startswith(_CAMERA):
                self._look()
            else:
                self._listen()
        except PresentationRefused as refusal:
            log.info("code_refused", reader=self._device.path, code=refusal.code)
            arming = self._switch.arming
            if arming is not None and self._is_of(arming):
                self._refuse(refusal.code)

    def _listen(self) -> None:
        """Take each scan as it comes; one that comes while nothing is armed is thrown away at once.

        Emptying the scanner at arming instead would now and then throw away a scan of this very sale.
        """
        text = self._device.wait_for_code(WAIT_MS)
        self._tenure.beat(health.CALL_MS_MAX)
        arming = self._switch.arming
        if text is not None and not self._is_of_a_flood(text) and arming is not None and self._is_of(arming):
            self._take(arming, text)

    def _is_of_a_flood(self, text: str) -> bool:
        """Say whether a payment code is one of too many, and tell the sale so, once; posters do not count."""
        if not is_payment_code(text) or not self._flood.is_flooded(text, self._device.seen_ns):
            return False
        if self._flood.is_news:
            log.warning("code_flood", reader=self._device.path)
            self._refuse("too_many_codes")
        return True

    def _is_of(self, arming: Arming) -> bool:
        """Say whether what the scanner told last was read since the sale was armed."""
        return self._device.seen_ns >= arming.at_ns

    def _look(self) -> None:
        """Look through a camera while armed; what it sees it will see again, so emptying it loses nothing."""
        arming = self._switch.await_arming(IDLE_DRAIN_MS)
        if self._is_done:
            return
        if arming is None or arming is not self._served:
            self._drain()
            self._served, self._held = arming, None
        if arming is None:
            return
        text = self._device.wait_for_code(WAIT_MS)
        self._tenure.beat(health.CALL_MS_MAX)
        if text is None:
            return
        beside = self._other_payment_code(text)
        if not self._is_held(text if beside is None else _pair(text, beside)):
            if beside is not None:
                # Whose code it was that the camera happened to name first must not decide who pays.
                self._refuse("too_many_codes")
            elif not self._is_of_a_flood(text):
                self._take(arming, text)

    def _other_payment_code(self, text: str) -> str | None:
        """Return a second payment code that the camera sees beside this one; posters do not count."""
        if not is_payment_code(text):
            return None
        for _ in range(CODES_PER_PICTURE_MAX):
            other = self._device.wait_for_code(0)
            if other is None or other == text:
                return None
            if is_payment_code(other):
                return other
        return None

    def _drain(self) -> None:
        for _ in range(DRAIN_CODES_MAX):
            if self._device.wait_for_code(0) is None:
                return

    def _is_held(self, text: str) -> bool:
        """Say whether the camera still sees what it saw."""
        before, now_ns = self._held, time.monotonic_ns()
        self._held = (text, now_ns)
        return before is not None and before[0] == text and now_ns - before[1] < SIGHTING_GAP_MS * _NS_PER_MS

    def _take(self, arming: Arming, text: str) -> None:
        noticed_ns = time.monotonic_ns()
        self._deliver(arming, Noticed(self._device.path, noticed_ns))
        try:
            presentation = recognise(text)
        except PaymentCodeError as refusal:
            log.info("code_refused", reader=self._device.path, code=refusal.code)
            self._deliver(arming, PresentedInVain(self._device.path, refusal.code, noticed_ns))
            return
        presented = Presented(self._device.path, presentation, noticed_ns, time.monotonic_ns(), None)
        self._deliver(arming, presented)


def _pair(text: str, other: str) -> str:
    """Name two codes that are seen together, so that one of them alone is something else."""
    return "\n".join(sorted((text, other)))
