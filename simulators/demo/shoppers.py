"""Shoppers who never end: seeded, mostly honest, sometimes short of money, sometimes up to something."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from simulators.demo.scenario import Presenting, ScanStep, ShowStep, TapStep
from simulators.world.file import WorldFile
from simulators.world.messages import CodeForm
from wire.money import format_minor

AMOUNT_MINOR_MIN: Final = 80
AMOUNT_MINOR_MAX: Final = 2_400
AMOUNT_MINOR_LARGE: Final = 90_000
LARGE_SHARE: Final = 0.03
"""How often somebody wants to spend more than anybody has."""
MISCHIEF_SHARE: Final = 0.12
PAUSE_S_MIN: Final = 0.4
PAUSE_S_MAX: Final = 2.5
CODE_LIFE_S: Final = 60
EXPIRED_AGE_S: Final = 600
TAMPERED: Final = "0.01"
ANYTHING: Final = "anything"
"""What is expected of a random sale."""

_QR_DISTORTIONS: Final = ("clean", "clean", "rotated", "perspective", "noise", "inverted", "low_contrast")
_BARCODE_DISTORTIONS: Final = ("clean", "low_contrast")
"""A barcode that stands askew or is grainy is more than the decoders promise."""
_FORMS: Final = (CodeForm.CPM, CodeForm.CPM, CodeForm.BASE45, CodeForm.BASE32, CodeForm.NUMERIC)


@dataclass(slots=True)
class Crowd:
    """Everybody who may come to a till; each carries a thing that is at one till at a time."""

    file: WorldFile
    rng: random.Random
    devices_on: Sequence[str]
    """Names of fields, screens and guns that work."""
    _busy: set[str] = field(default_factory=set)
    _has_shown: set[str] = field(default_factory=set)

    def draw_pause_s(self) -> float:
        """Draw how long a till waits for its next customer."""
        return self.rng.uniform(PAUSE_S_MIN, PAUSE_S_MAX)

    def draw(self, till: str) -> Presenting | None:
        """Draw what happens next at a till; None while all things are elsewhere or no device works."""
        devices = [name for name in self._devices_of(till) if name in self.devices_on]
        if not devices:
            return None
        device = self.rng.choice(devices)
        makers: dict[bool, Callable[[str], Presenting | None]] = {
            True: self._draw_tap,
            False: self._draw_code,
        }
        return makers[device in self._field_names](device)

    def take(self, thing: str) -> None:
        """Mark a thing as being at a till."""
        self._busy.add(thing)

    def give_back(self, thing: str) -> None:
        """Mark a thing as free again."""
        self._busy.discard(thing)

    @property
    def _field_names(self) -> set[str]:
        return {entry.name for entry in self.file.fields}

    def _devices_of(self, till: str) -> list[str]:
        return next((entry.devices for entry in self.file.tills if entry.name == till), [])

    def _free(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self._busy]

    def _draw_amount(self) -> str:
        large = self.rng.random() < LARGE_SHARE
        minor = AMOUNT_MINOR_LARGE if large else self.rng.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
        return format_minor(minor, self.file.iso_currency)

    def _draw_tap(self, field_name: str) -> TapStep | None:
        honest = self._free([entry.name for entry in self.file.instruments])
        signing = self._free([entry.name for entry in (*self.file.phones, *self.file.applet_cards)])
        tags = self._free([tag.name for tag in self.file.uid_tags])
        amount = self._draw_amount()
        if self.rng.random() < MISCHIEF_SHARE and signing and tags:
            if self.rng.random() < 0.5:
                tag = self.rng.choice(tags)
                return self._tap(field_name, tag, amount, f"{tag}, only a number")
            victim = self.rng.choice(signing)
            return self._tap(field_name, victim, amount, f"a relay tampers with {victim}", TAMPERED)
        if not honest:
            return None
        thing = self.rng.choice(honest)
        return self._tap(field_name, thing, amount, f"{thing} taps")

    def _tap(self, field_name: str, thing: str, amount: str, say: str, tamper: str | None = None) -> TapStep:
        return TapStep(
            say=say, thing=thing, field=field_name, amount=amount, expect=ANYTHING, tamper_amount=tamper
        )

    def _draw_code(self, device: str) -> ShowStep | ScanStep | None:
        phones = self._free([entry.name for entry in self.file.phones])
        if not phones:
            return None
        phone = self.rng.choice(phones)
        mischief = self.rng.random() < MISCHIEF_SHARE
        screenshot = mischief and phone in self._has_shown and self.rng.random() < 0.5
        age_s = EXPIRED_AGE_S if mischief and not screenshot else 0
        form = self.rng.choice(_FORMS) if not age_s else CodeForm.CPM
        self._has_shown.add(phone)
        say = f"{phone} shows {_story(form, age_s, screenshot=screenshot)}"
        amount = self._draw_amount()
        if device in {gun.name for gun in self.file.guns}:
            return ScanStep(
                say=say, phone=phone, gun=device, amount=amount, expect=ANYTHING,
                form=form, age_s=age_s, screenshot=screenshot, life_s=CODE_LIFE_S,
            )  # fmt: skip
        return ShowStep(
            say=say, phone=phone, screen=device, amount=amount, expect=ANYTHING,
            form=form, age_s=age_s, screenshot=screenshot, life_s=CODE_LIFE_S,
            distortion=self.rng.choice(_BARCODE_DISTORTIONS if form is CodeForm.NUMERIC else _QR_DISTORTIONS),
        )  # fmt: skip


def _story(form: CodeForm, age_s: int, *, screenshot: bool) -> str:
    if screenshot:
        return "a screenshot of an old code"
    if age_s:
        return f"a code that is {age_s} s old"
    return "a numeric code" if form is CodeForm.NUMERIC else "a pay code"
