"""What whoever makes a card reads, in both languages: every step, every end, and nothing twice."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from terminal.cards.screen import CardScreen
from wire.messages.cards import CardPurpose, CardSessionAnswer, CardStage, CardView
from wire.notices import CHINESE, ENGLISH, NOTICES


def make_screen(language: str) -> tuple[CardScreen, io.StringIO]:
    shown = io.StringIO()
    return CardScreen(language, Console(file=shown, width=200)), shown


def ended(code: str | None = None, *, is_newest: bool = True) -> CardSessionAnswer:
    card = CardView(instrument_id="I", label="Card 1", status="active", key_version=2, is_newest=is_newest)
    return CardSessionAnswer(
        session_id="S",
        state="done" if code is None else "refused",
        step=9,
        stage=CardStage.PROOF,
        stage_number=6,
        stage_count=6,
        code=code,
        card=None if code else card,
    )


@pytest.mark.parametrize("language", [ENGLISH, CHINESE])
def test_every_step_is_told_once_with_its_number(language: str) -> None:
    screen, shown = make_screen(language)
    for number, stage in enumerate(CardStage, start=1):
        for _ in range(3):
            screen.show_stage(stage, number, len(CardStage))
    lines = shown.getvalue().splitlines()
    assert len(lines) == len(CardStage)
    assert all(str(number) in line and str(len(CardStage)) in line for number, line in enumerate(lines, 1))


@pytest.mark.parametrize("language", [ENGLISH, CHINESE])
@pytest.mark.parametrize("purpose", [one for one in CardPurpose if one is not CardPurpose.CONFIRM])
def test_every_end_is_told(language: str, purpose: CardPurpose) -> None:
    screen, shown = make_screen(language)
    screen.show_end(purpose, ended(is_newest=purpose is not CardPurpose.VERIFY))
    assert len(shown.getvalue().splitlines()) == (2 if purpose is CardPurpose.VERIFY else 1)


@pytest.mark.parametrize("language", [ENGLISH, CHINESE])
def test_a_refusal_is_told_in_its_own_words(language: str) -> None:
    screen, shown = make_screen(language)
    screen.show_end(CardPurpose.WIPE, ended("card_not_suspended"))
    assert NOTICES["card_not_suspended"].cashier_text[language] in shown.getvalue()


def test_a_lifted_card_is_told_to_go_on_each_time() -> None:
    screen, shown = make_screen(ENGLISH)
    for _ in range(2):
        screen.show_waiting()
        screen.show_stage(CardStage.KEYS, 3, 6)
        screen.show_lifted()
    assert shown.getvalue().count("Put it back: it goes on where it stopped.") == 2
