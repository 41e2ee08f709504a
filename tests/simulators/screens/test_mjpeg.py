"""The simulated network camera speaks MJPEG as cameras do, and misbehaves when told to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from simulators.screens.mjpeg import VIEWERS_MAX, MjpegServer
from simulators.screens.picture_file import PictureFile
from simulators.screens.render import idle_frame, render_frame


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    server = MjpegServer(frames_per_s=50)
    server.start()
    yield server
    server.stop()


class Viewer:
    """Reads a stream part by part, with nothing but a socket."""

    def __init__(self, server: MjpegServer) -> None:
        port = int(server.url.split(":")[2].split("/")[0])
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=3)
        self.socket.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: camera\r\n\r\n")
        self.file = self.socket.makefile("rb")
        self.head = self._read_headers()

    def read(self) -> np.ndarray:
        assert self.file.readline().strip() == b"--frame"
        headers = self._read_headers()
        jpeg = self.file.read(int(headers[b"content-length"]))
        assert self.file.readline() == b"\r\n"
        return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def _read_headers(self) -> dict[bytes, bytes]:
        lines = iter(self.file.readline, b"\r\n")
        pairs = (line.partition(b":") for line in lines if line)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


@pytest.fixture
def viewer(server: MjpegServer) -> Iterator[Viewer]:
    viewer = Viewer(server)
    yield viewer
    viewer.close()


def _is_like(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and float(np.abs(one.astype(int) - other.astype(int)).mean()) < 4


def _drain(stream: socket.socket) -> None:
    """Take what is on its way until there is none."""
    while stream.recv(1 << 16):
        pass


def test_stream_says_what_it_is(viewer: Viewer) -> None:
    assert viewer.head[b"content-type"] == b"multipart/x-mixed-replace; boundary=frame"


def test_camera_sees_the_counter_then_the_phone_then_the_counter(server: MjpegServer, viewer: Viewer) -> None:
    phone = render_frame("P1:ABC")
    assert _is_like(viewer.read(), idle_frame())
    for shown, seen in ((phone, phone), (None, idle_frame())):
        server.show(shown)
        deadline = time.monotonic() + 3
        while not _is_like(viewer.read(), seen):
            assert time.monotonic() < deadline


def test_frames_come_at_the_stated_pace(viewer: Viewer) -> None:
    viewer.read()
    started = time.monotonic()
    for _ in range(10):
        viewer.read()
    assert time.monotonic() - started >= 10 / 50 * 0.9


def test_stalled_camera_sends_nothing_and_keeps_the_line_until_it_resumes(
    server: MjpegServer, viewer: Viewer
) -> None:
    server.stall()
    viewer.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        _drain(viewer.socket)
    server.resume()
    assert viewer.socket.recv(1)


def test_flooding_camera_sends_faster_than_its_pace(server: MjpegServer, viewer: Viewer) -> None:
    server.flood()
    for _ in range(20):
        viewer.read()
    started = time.monotonic()
    for _ in range(20):
        viewer.read()
    assert time.monotonic() - started < 20 / 50


def test_dead_camera_hangs_up_and_comes_back_on_the_same_address(server: MjpegServer, viewer: Viewer) -> None:
    viewer.read()
    address = server.url
    server.stop()
    _drain(viewer.socket)
    with pytest.raises(OSError, match="refused"):
        Viewer(server)
    server.start()
    assert server.url == address
    again = Viewer(server)
    assert again.read().shape == (480, 640)
    again.close()


def test_stop_ends_a_stalled_stream_at_once(server: MjpegServer, viewer: Viewer) -> None:
    server.stall()
    started = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - started < 1


def test_viewers_are_bounded_and_their_places_free_again(server: MjpegServer) -> None:
    viewers = [Viewer(server) for _ in range(VIEWERS_MAX)]
    for viewer in viewers:
        viewer.read()
    one_too_many = Viewer(server)
    assert one_too_many.file.read() == b""
    for viewer in (*viewers, one_too_many):
        viewer.close()
    deadline = time.monotonic() + 3
    while server.viewer_count:
        assert time.monotonic() < deadline


def test_other_addresses_are_not_found(server: MjpegServer) -> None:
    with pytest.raises(HTTPError) as refusal, urlopen(server.url + "x", timeout=3):
        pass
    assert refusal.value.code == 404
    refusal.value.close()


def test_picture_file_is_replaced_as_a_whole(tmp_path) -> None:
    file = PictureFile(tmp_path / "camera.png")
    phone = render_frame("P1:ABC")
    for shown, seen in ((phone, phone), (None, idle_frame())):
        file.show(shown)
        assert np.array_equal(cv2.imread(str(file.path), cv2.IMREAD_GRAYSCALE), seen)
    assert [path.name for path in tmp_path.iterdir()] == ["camera.png"]
