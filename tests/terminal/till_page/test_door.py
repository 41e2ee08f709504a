"""Links and cookies: each link once and in time, each browser until it leaves, and no secret on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from terminal.errors import SaleRefused
from terminal.till_page.door import (
    LINK_MS,
    LINKS_MAX,
    SESSION_MS,
    SESSIONS_FILE,
    SESSIONS_MAX,
    PageDoor,
)
from wire.messages.till_page import PageKind


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def open_door(folder: Path, clock: Clock) -> PageDoor:
    return PageDoor(folder, "TERM0001", now_ms=clock, entropy=os.urandom)


def test_link_is_good_once(tmp_path: Path, clock: Clock) -> None:
    door = open_door(tmp_path, clock)
    link, expires_ms = door.make_link(PageKind.CUSTOMER)
    assert expires_ms == clock.now_ms + LINK_MS
    page, cookie = door.enter(link)
    assert page is PageKind.CUSTOMER
    assert door.find(cookie) is PageKind.CUSTOMER
    with pytest.raises(SaleRefused) as caught:
        door.enter(link)
    assert caught.value.code == "page_link_invalid"


def test_link_is_good_for_a_while(tmp_path: Path, clock: Clock) -> None:
    door = open_door(tmp_path, clock)
    link, expires_ms = door.make_link(PageKind.TILL)
    clock.now_ms = expires_ms
    with pytest.raises(SaleRefused):
        door.enter(link)


def test_strangers_and_the_link_itself_are_nobody(tmp_path: Path, clock: Clock) -> None:
    door = open_door(tmp_path, clock)
    link, _ = door.make_link(PageKind.TILL)
    door.enter(link)
    for value in (None, "", link, "x" * 43, "\udcff"):
        assert door.find(value) is None


def test_a_browser_is_known_after_a_restart_until_its_time_is_over(tmp_path: Path, clock: Clock) -> None:
    _, cookie = (door := open_door(tmp_path, clock)).enter(door.make_link(PageKind.TILL)[0])
    again = open_door(tmp_path, clock)
    assert again.find(cookie) is PageKind.TILL
    clock.now_ms += SESSION_MS
    assert again.find(cookie) is None


def test_a_browser_that_leaves_is_forgotten_on_disk_too(tmp_path: Path, clock: Clock) -> None:
    door = open_door(tmp_path, clock)
    _, cookie = door.enter(door.make_link(PageKind.TILL)[0])
    door.leave(cookie)
    door.leave(cookie)
    assert open_door(tmp_path, clock).find(cookie) is None


def test_disk_holds_neither_link_nor_cookie(tmp_path: Path, clock: Clock) -> None:
    door = open_door(tmp_path, clock)
    link, _ = door.make_link(PageKind.TILL)
    _, cookie = door.enter(link)
    stored = (tmp_path / SESSIONS_FILE).read_text()
    assert link not in stored
    assert cookie not in stored


def test_links_and_browsers_are_bounded_and_the_oldest_go(tmp_path: Path, clock: Clock) -> None:
    door = open_door(tmp_path, clock)
    first, _ = door.make_link(PageKind.TILL)
    for _ in range(LINKS_MAX):
        door.make_link(PageKind.TILL)
    with pytest.raises(SaleRefused):
        door.enter(first)
    cookies = [door.enter(door.make_link(PageKind.TILL)[0])[1] for _ in range(SESSIONS_MAX + 1)]
    assert door.find(cookies[0]) is None
    assert all(door.find(cookie) is PageKind.TILL for cookie in cookies[1:])


@pytest.mark.parametrize("damage", [b"", b"{", b'[{"digest": 1}]', b"\xff" * 100_000])
def test_damaged_file_costs_a_new_link_and_nothing_else(tmp_path: Path, clock: Clock, damage: bytes) -> None:
    (tmp_path / SESSIONS_FILE).write_bytes(damage)
    door = open_door(tmp_path, clock)
    _, cookie = door.enter(door.make_link(PageKind.TILL)[0])
    assert open_door(tmp_path, clock).find(cookie) is PageKind.TILL
