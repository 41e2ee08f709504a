"""A world file is read strictly: what is misspelt, missing or twice there is an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.errors import WorldFileInvalid
from simulators.world.file import FieldKind, load_world_file

ROOT = Path(__file__).parents[3]
SMALL = """
seed = 7
currency = "EUR"
[shop]
name = "Shop"
location = "Here"
[[tills]]
name = "till-1"
devices = ["radio"]
[[fields]]
name = "radio"
kind = "udp"
[[wallets]]
name = "ana"
holder = "Ana"
funds = "10.00"
[[phones]]
name = "ana-phone"
wallet = "ana"
per_payment = "5.00"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "world.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_load_reads_every_entry(tmp_path: Path) -> None:
    world = load_world_file(write(tmp_path, SMALL))

    assert (world.seed, world.fields[0].kind) == (7, FieldKind.UDP)
    assert world.till_of("radio") == "till-1"
    assert world.money(world.wallets[0].funds).minor == 1000
    assert [entry.name for entry in world.instruments] == ["ana-phone"]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed = 7", "seed = 7\nsede = 8", "sede"),
        ('location = "Here"', 'location = "Here"\nfee = 3', "fee"),
        ('per_payment = "5.00"', 'per_paymnt = "5.00"', "per_paymnt"),
        ('kind = "udp"', 'kind = "usb"', "kind"),
        ('wallet = "ana"', 'wallet = "ben"', "ben"),
        ('devices = ["radio"]', 'devices = ["radar"]', "radar"),
        ('devices = ["radio"]', 'devices = ["radio", "radio"]', "radio"),
        ('funds = "10.00"', 'funds = "10.001"', "funds"),
        ('per_payment = "5.00"', 'per_payment = "-5"', "per_payment"),
        ('currency = "EUR"', 'currency = "EUX"', "currency"),
        ('name = "ana-phone"', 'name = "radio"', "radio"),
        ("seed = 7", 'seed = "7"', "seed"),
        ("seed = 7", "seed = ", "line 2"),
    ],
)
def test_load_names_what_is_wrong(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert SMALL.count(old) == 1

    with pytest.raises(WorldFileInvalid, match=named):
        load_world_file(write(tmp_path, SMALL.replace(old, new)))


def test_load_says_which_file_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WorldFileInvalid, match=r"nowhere\.toml: No such file"):
        load_world_file(tmp_path / "nowhere.toml")


def test_load_refuses_a_file_without_end(tmp_path: Path) -> None:
    with pytest.raises(WorldFileInvalid, match="longer than"):
        load_world_file(write(tmp_path, SMALL + "#" * 300_000))


def test_the_demos_world_is_the_one_in_the_configuration_folder() -> None:
    world = load_world_file(ROOT / "config" / "demo.toml")

    assert {entry.kind for entry in world.fields} == set(FieldKind)
    assert len(world.tills) == 2
