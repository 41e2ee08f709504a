"""A camera's bad days: stalls, floods, deaths, files that are no pictures; its stream's newest picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pytest

from simulators.screens.mjpeg import STREAM_PATH, MjpegServer
from simulators.screens.picture_file import PictureFile
from simulators.screens.render import idle_frame, render_frame
from terminal.devices.paths import make_device
from terminal.errors import ConfigurationError, ReaderUnavailable
from terminal.scanners import camera_frames
from terminal.scanners.camera import CameraScanner

TEXT: Final = "P1:6BF$*F0 %-./:" + "8UC+XK4QT3Z" * 8
WAIT_MS: Final = 4_000


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    server = MjpegServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def scanner(server: MjpegServer) -> Iterator[CameraScanner]:
    scanner = CameraScanner(server.url)
    scanner.open()
    yield scanner
    scanner.close()


def _camera_threads() -> int:
    return sum(thread.name.startswith("camera ") for thread in threading.enumerate())


def _await_failure(scanner: CameraScanner) -> str:
    deadline = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < deadline:
        try:
            scanner.wait_for_code(250)
        except ReaderUnavailable as failure:
            return str(failure)
    pytest.fail("the camera's failure was never noticed")


def test_code_is_returned_again_and_again_while_it_is_held_there(
    server: MjpegServer, scanner: CameraScanner
) -> None:
    server.show(render_frame(TEXT))
    assert [scanner.wait_for_code(WAIT_MS) for _ in range(3)] == [TEXT] * 3


def test_two_codes_of_one_picture_are_handed_on_one_by_one(
    server: MjpegServer, scanner: CameraScanner
) -> None:
    server.show(np.hstack([render_frame(text, width=320) for text in (TEXT, "P2:SECOND")]))
    assert {scanner.wait_for_code(WAIT_MS) for _ in range(2)} == {TEXT, "P2:SECOND"}


def test_waiting_no_time_still_looks_at_the_picture_that_is_there(
    server: MjpegServer, scanner: CameraScanner
) -> None:
    server.show(render_frame(TEXT))
    assert scanner.wait_for_code(WAIT_MS) == TEXT
    deadline = time.monotonic() + WAIT_MS / 1000
    while scanner.wait_for_code(0) != TEXT:
        assert time.monotonic() < deadline


def test_stalled_stream_is_noticed(
    server: MjpegServer, scanner: CameraScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_frames, "FRAME_GAP_MS_MAX", 400)
    scanner.wait_for_code(200)
    server.stall()
    assert _await_failure(scanner) == "the camera sends no pictures"
    started = time.monotonic()
    scanner.close()
    assert time.monotonic() - started < 1.0


def test_picture_is_decoded_once_however_often_asked(server: MjpegServer, scanner: CameraScanner) -> None:
    server.show(render_frame(TEXT))
    assert scanner.wait_for_code(WAIT_MS) == TEXT
    server.stall()
    deadline = time.monotonic() + WAIT_MS / 1000
    while scanner.wait_for_code(100) is not None:
        assert time.monotonic() < deadline, "an old picture was decoded again and again"


def test_picture_that_is_too_old_is_not_decoded(
    server: MjpegServer, scanner: CameraScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.show(render_frame(TEXT))
    assert scanner.wait_for_code(WAIT_MS) == TEXT
    monkeypatch.setattr(camera_frames, "FRAME_AGE_MS_MAX", -1)
    assert scanner.wait_for_code(300) is None


def test_dead_camera_is_noticed_at_once_and_opens_when_it_is_back(
    server: MjpegServer, scanner: CameraScanner
) -> None:
    scanner.wait_for_code(200)
    server.stop()
    assert _await_failure(scanner) == "the camera's stream ended"
    scanner.close()
    with pytest.raises(ReaderUnavailable):
        scanner.open()
    server.start()
    scanner.open()
    server.show(render_frame(TEXT))
    assert scanner.wait_for_code(WAIT_MS) == TEXT


def test_flood_is_drained_to_the_newest_picture(server: MjpegServer, scanner: CameraScanner) -> None:
    server.show(render_frame("P1:OLD"))
    server.flood()
    assert scanner.wait_for_code(WAIT_MS) == "P1:OLD"
    taken_before = server.frame_count
    deadline = time.monotonic() + WAIT_MS / 1000
    while server.frame_count < taken_before + 50:  # nobody asks for codes, yet the stream is read
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    server.show(render_frame("P1:NEW"))
    while scanner.wait_for_code(WAIT_MS) != "P1:NEW":
        assert time.monotonic() < deadline


def test_opening_again_and_again_leaves_no_threads(server: MjpegServer, scanner: CameraScanner) -> None:
    for _ in range(5):
        scanner.open()
    assert _camera_threads() == 1
    scanner.close()
    assert _camera_threads() == 0


def test_address_that_is_no_stream_does_not_open(server: MjpegServer) -> None:
    wrong = CameraScanner(server.url.replace(STREAM_PATH, "/elsewhere"))
    with pytest.raises(ReaderUnavailable):
        wrong.open()
    assert _camera_threads() == 0


def test_camera_that_is_not_there_does_not_open() -> None:
    with pytest.raises(ReaderUnavailable):
        CameraScanner("99").open()


@pytest.mark.parametrize("source", ["", "zero", "ftp://x/y", "http://", "file:", "-1", "1234", "http://a b"])
def test_source_that_names_no_camera_is_refused_before_opening(source: str) -> None:
    with pytest.raises(ConfigurationError):
        make_device(f"camera:{source}")


def test_folder_of_pictures_is_shown_in_order_over_and_over(tmp_path: Path) -> None:
    for index, text in enumerate(("P1:A", "P1:B", "P1:C")):
        PictureFile(tmp_path / f"{index}.png").show(render_frame(text))
    (tmp_path / "notes.txt").write_text("no picture")
    scanner = CameraScanner(f"file:{tmp_path}")
    scanner.open()
    try:
        seen = [scanner.wait_for_code(WAIT_MS) for _ in range(5)]
    finally:
        scanner.close()
    start = ["P1:A", "P1:B", "P1:C"].index(seen[0] or "")
    assert seen == (["P1:A", "P1:B", "P1:C"] * 3)[start : start + 5]


def test_video_plays_over_and_over(tmp_path: Path) -> None:
    path = tmp_path / "shopper.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (640, 480))
    for frame in [idle_frame(), render_frame("P1:FILM"), render_frame("P1:FILM")]:
        writer.write(np.dstack([frame] * 3))
    writer.release()
    scanner = CameraScanner(f"file:{path}")
    scanner.open()
    try:
        assert [scanner.wait_for_code(WAIT_MS) for _ in range(6)] == ["P1:FILM"] * 6
    finally:
        scanner.close()


@pytest.mark.parametrize("name", ["missing.png", "broken.png", "broken.avi", "empty"])
def test_file_that_holds_no_picture_is_unavailable(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "broken.avi").write_bytes(b"RIFF" + bytes(400))
    (tmp_path / "empty").mkdir()
    scanner = CameraScanner(f"file:{tmp_path / name}")

    def look() -> None:
        scanner.open()
        scanner.wait_for_code(WAIT_MS)

    with pytest.raises(ReaderUnavailable):
        look()
    scanner.close()
