"""What stands in braces in a test value, and what is said where nothing is known of it."""

from __future__ import annotations

import itertools

import pytest

from simulators.demo.office import NewTerminal
from simulators.errors import SimulatorError
from simulators.rehearsal.fillings import Fillings
from simulators.rehearsal.stage import Registered

IDS = Registered(
    merchant_id="MERCHANT",
    terminals={"till-2": NewTerminal("TERMINAL", "code")},
    wallets={"rich": "WALLET"},
    instruments={"good-phone": "INSTRUMENT"},
    staff={"manager": "MANAGER"},
)


@pytest.fixture
def places() -> Fillings:
    numbers = itertools.count(1)
    return Fillings(IDS, "till-1", lambda: f"ID{next(numbers)}")


def test_what_is_registered_is_filled_in_also_deep_inside_a_body(places: Fillings) -> None:
    body = {"a": ["{wallet:rich}", {"b": "{staff:manager} of {merchant}"}], "n": 5, "t": "{till}"}
    assert places.fill_in(body) == {"a": ["WALLET", {"b": "MANAGER of MERCHANT"}], "n": 5, "t": "till-1"}
    assert places.fill("{instrument:good-phone}/{terminal:till-2}") == "INSTRUMENT/TERMINAL"


def test_a_fresh_id_is_the_same_under_the_same_name(places: Fillings) -> None:
    assert places.fill("{id:one} {id:two} {id:one}") == "ID1 ID2 ID1"


def test_what_the_till_api_said_is_filled_in_once_it_was_said(places: Fillings) -> None:
    places.known["tag_read"] = "READ"
    assert places.fill("/v1/staff/tag-reads/{tag_read}") == "/v1/staff/tag-reads/READ"


@pytest.mark.parametrize("text", ["{sale}", "{wallet:poor}", "{terminal:till-9}", "{colour:red}"])
def test_what_nothing_is_known_of_is_named(places: Fillings, text: str) -> None:
    with pytest.raises(SimulatorError, match="nothing is known of") as caught:
        places.fill(text)
    assert text in str(caught.value)
