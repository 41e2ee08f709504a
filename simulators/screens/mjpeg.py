"""A network camera before which a phone can be held: MJPEG over HTTP on the loopback interface.

It does what such cameras do, bad days included: it can stall with the connection open, flood, and go away
and come back on the same port.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import cv2

from simulators.screens.render import GreyImage, idle_frame

HOST: Final = "127.0.0.1"
STREAM_PATH: Final = "/stream.mjpg"
FRAMES_PER_S: Final = 25.0
JPEG_QUALITY: Final = 90
VIEWERS_MAX: Final = 16
SEND_S_MAX: Final = 5.0
"""A viewer that takes nothing for so long is dropped."""

_BOUNDARY: Final = "frame"


class _Pace(Enum):
    STEADY = "steady"
    STALLED = "stalled"
    FLOODING = "flooding"


class MjpegServer:
    """Serves what it is told to show, to any number of viewers up to VIEWERS_MAX."""

    def __init__(self, port: int = 0, *, frames_per_s: float = FRAMES_PER_S) -> None:
        """Make a camera that is not yet on; port 0 takes a free one at the first start and keeps it."""
        self._port = port
        self._interval_s = 1 / frames_per_s
        self._idle = _encode(idle_frame())
        self._jpeg = self._idle
        self._pace = _Pace.STEADY
        self._is_broken = False
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._viewers: set[socket.socket] = set()
        self.frame_count = 0
        """Frames sent to all viewers together."""

    @property
    def url(self) -> str:
        """Address of the stream; the part after `camera:` in terminal.toml."""
        return f"http://{HOST}:{self._port}{STREAM_PATH}"

    @property
    def viewer_count(self) -> int:
        """How many are watching now."""
        with self._changed:
            return len(self._viewers)

    def start(self) -> None:
        """Listen; on return a camera scanner can open the stream.

        Raises:
            OSError: the port is taken.
        """
        if self._server is not None:
            return
        server = _Server((HOST, self._port), _handler_for(self))
        self._port = int(server.server_address[1])
        self._server = server
        threading.Thread(
            target=server.serve_forever, args=(0.02,), name=f"mjpeg {self._port}", daemon=True
        ).start()

    def show(self, frame: GreyImage | None) -> None:
        """Let the camera see this from the next frame on; None is the empty, dark counter."""
        jpeg = self._idle if frame is None else _encode(frame)
        with self._changed:
            self._jpeg = jpeg
            self._changed.notify_all()

    def stall(self) -> None:
        """Send nothing more, but keep every connection open."""
        self._set_pace(_Pace.STALLED)

    def flood(self) -> None:
        """Send as fast as viewers take it."""
        self._set_pace(_Pace.FLOODING)

    def break_pictures(self) -> None:
        """Send pictures that end in the middle, as over a bad line, until `resume`."""
        with self._changed:
            self._is_broken = True

    def resume(self) -> None:
        """Go back to whole pictures at the steady pace."""
        with self._changed:
            self._is_broken = False
        self._set_pace(_Pace.STEADY)

    def stop(self) -> None:
        """Die: hang up on every viewer and stop listening; may be called twice, and started again."""
        with self._changed:
            server, self._server = self._server, None
            viewers = list(self._viewers)
            self._changed.notify_all()
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for viewer in viewers:
            with contextlib.suppress(OSError):
                viewer.shutdown(socket.SHUT_RDWR)

    def serve(self, viewer: socket.socket) -> None:
        """Send frames to one viewer until either side ends it; called in the viewer's own thread."""
        if not self._admit(viewer):
            return
        try:
            while (jpeg := self._next_frame()) is not None:
                viewer.sendall(_part(jpeg))
                self.frame_count += 1
        except OSError:
            return
        finally:
            with self._changed:
                self._viewers.discard(viewer)

    def _admit(self, viewer: socket.socket) -> bool:
        with self._changed:
            admitted = self._server is not None and len(self._viewers) < VIEWERS_MAX
            if admitted:
                self._viewers.add(viewer)
        return admitted

    def _next_frame(self) -> bytes | None:
        """Wait for the time of the next frame; None when the camera is off."""
        with self._changed:
            if self._pace is not _Pace.FLOODING:
                self._changed.wait_for(lambda: self._server is None, self._interval_s)
            self._changed.wait_for(lambda: self._server is None or self._pace is not _Pace.STALLED)
            if self._server is None:
                return None
            return self._jpeg[: len(self._jpeg) // 2] if self._is_broken else self._jpeg

    def _set_pace(self, pace: _Pace) -> None:
        with self._changed:
            self._pace = pace
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Viewers' threads end by their sockets; waiting for them here would wait for stalled ones too.
    block_on_close = False
    request_queue_size = VIEWERS_MAX

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a viewer that hangs up is an everyday thing."""


def _handler_for(camera: MjpegServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SEND_S_MAX

        def do_GET(self) -> None:
            if self.path != STREAM_PATH:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.close_connection = True
            camera.serve(self.connection)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


def _encode(frame: GreyImage) -> bytes:
    done, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done, "a grey picture always encodes"
    return jpeg.tobytes()


def _part(jpeg: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode("ascii") + jpeg + b"\r\n"
