"""A simulated disk keeps what a real one keeps, and no more; the journal's real code is held to it."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

import pytest

from simulators.disks.disk import DiskStep, PowerLost, SimulatedDisk
from terminal.disk import Disk, DiskFile
from terminal.journal.journal import Journal
from tests.terminal.conftest import make_answer, make_request


def lose_power_at(number: int) -> Callable[[DiskStep], None]:
    """Let the power go at the so-manyth step from now, counted from 1."""
    count = 0

    def meet(step: DiskStep) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise PowerLost

    return meet


def test_it_is_what_the_journal_asks_for() -> None:
    disk: Disk = SimulatedDisk(random.Random(1))
    file = disk.open("a")
    file.append(b"one")
    file.append(b"two")
    assert disk.read("a") == b"onetwo"
    file.cut(4)
    assert disk.read("a") == b"onet"
    file.replace(b"new")
    file.cut(3)
    assert disk.read("a") == b"new"
    disk.write("b", b"whole")
    assert (disk.read("b"), disk.read("c")) == (b"whole", b"")


@pytest.mark.parametrize("seed", range(30))
def test_what_was_synced_survives_and_of_the_rest_anything_may(seed: int) -> None:
    disk = SimulatedDisk(random.Random(seed))
    disk.open("a").append(b"synced;")
    disk._on_step = lose_power_at(1)
    with pytest.raises(PowerLost):
        disk.open("a").append(b"x" * 200)
    disk.lose_power()
    survived = disk.read("a")
    assert survived.startswith(b"synced;")
    assert len(survived) <= len(b"synced;") + 200


def test_tears_come_in_every_size_and_with_holes() -> None:
    survivors = set()
    for seed in range(200):
        disk = SimulatedDisk(random.Random(seed), on_step=lose_power_at(1))
        with pytest.raises(PowerLost):
            disk.open("a").append(b"x" * 200)
        disk.lose_power()
        survivors.add(disk.read("a"))
    assert {b"", b"x" * 200} <= survivors
    assert any(b"\x00" in survivor for survivor in survivors)
    assert len({len(survivor) for survivor in survivors}) > 50


def replace_and_go_on(disk: SimulatedDisk, file: DiskFile) -> None:
    """Put new content in place, durably, and take one step more."""
    file.replace(b"new")
    file.cut(3)
    disk.step(DiskStep.SYNCED)


@pytest.mark.parametrize("step", range(1, 6))
def test_a_replaced_file_is_the_old_or_the_new_one(step: int) -> None:
    seen = set()
    for seed in range(40):
        disk = SimulatedDisk(random.Random(seed))
        file = disk.open("a")
        file.append(b"old content")
        disk._on_step = lose_power_at(step)
        with pytest.raises(PowerLost):
            replace_and_go_on(disk, file)
        disk.lose_power()
        seen.add(disk.read("a"))
    either = {b"old content", b"new"}
    assert seen == ({b"old content"}, either, either, {b"new"}, {b"new"})[step - 1]


def test_a_full_disk_takes_part_of_a_line_and_says_so() -> None:
    disk = SimulatedDisk(random.Random(3), has_room=lambda: False)
    file = disk.open("a")
    with pytest.raises(OSError, match="no space") as caught:
        file.append(b"x" * 100)
    assert caught.value.errno == errno.ENOSPC
    assert len(disk.read("a")) < 100
    with pytest.raises(OSError, match="no space"):
        file.replace(b"y" * 100)
    assert not disk.read("a").startswith(b"y")


def test_a_disk_that_lies_about_syncing_loses_everything() -> None:
    disk = SimulatedDisk(random.Random(9), keeps_promises=False)
    disk.open("a").append(b"promised")
    assert disk.synced("a") == b""
    kept = set()
    for seed in range(40):
        disk = SimulatedDisk(random.Random(seed), keeps_promises=False)
        disk.open("a").append(b"promised")
        disk.lose_power()
        kept.add(disk.read("a"))
    assert len(kept) > 3


def test_a_file_of_before_the_power_went_is_closed() -> None:
    disk = SimulatedDisk(random.Random(1))
    file = disk.open("a")
    disk.lose_power()
    with pytest.raises(OSError, match="when the power went"):
        file.append(b"late")


@pytest.mark.parametrize("step", range(1, 12))
@pytest.mark.parametrize("seed", range(5))
def test_the_journal_keeps_its_promises_whenever_the_power_goes(step: int, seed: int) -> None:
    """Whatever was recorded before the power went is there again, and nothing else but the one under way."""
    disk = SimulatedDisk(random.Random(seed))
    disk._on_step = lose_power_at(step)
    recorded: list[str] = []
    answered: list[str] = []
    try:
        journal = Journal(disk)
        for number in range(3):
            journal.record_attempt(make_request(number), at_ms=number)
            recorded.append(make_request(number).attempt_id)
            if number % 2 == 0:
                journal.record_answer(make_answer(make_request(number)), at_ms=number)
                answered.append(recorded[-1])
    except PowerLost:
        pass
    disk.lose_power()
    disk._on_step = lambda step: None
    again = Journal(disk)
    unresolved = [record.request.attempt_id for record in again.unresolved()]
    known = {entry.attempt_id for entry in again.list()}
    assert known >= set(recorded)
    assert len(known) <= len(recorded) + 1
    assert not set(answered) & set(unresolved)
