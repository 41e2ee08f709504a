"""Where a camera's pictures come from, and a thread that keeps only the newest of them.

The one module that opens OpenCV captures. A capture must be read without pause: what is not read in time
queues up in the stream, and the till would look at the past (a slow reader was seen 15 pictures behind).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from terminal.errors import ReaderUnavailable
from terminal.scanners.decoder import Frame

OPEN_MS_MAX: Final = 3_000
READ_MS_MAX: Final = 2_000
"""How long one read of a network stream may take before it is given up."""
FIRST_FRAME_MS_MAX: Final = 5_000
"""A camera that has just been switched on may take seconds to see anything."""
FRAME_GAP_MS_MAX: Final = 2_000
"""Without a picture for so long, the stream has stalled."""
FRAME_AGE_MS_MAX: Final = 500
"""Older pictures show what was, not what is; they are not decoded."""
STOP_MS_MAX: Final = 300
"""How long `stop` waits for the thread; one that is stuck in a read ends by itself after READ_MS_MAX."""
STILLS_PER_S: Final = 10.0
VIDEO_FRAMES_PER_S_MAX: Final = 60.0
STILLS_MAX: Final = 10_000
STILL_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm"})

FFMPEG_LOG_QUIET: Final = "-8"
"""AV_LOG_QUIET of libavutil's log.h."""

_NS_PER_MS: Final = 1_000_000


class FrameSource(Protocol):
    """Gives one picture after another, each when its time has come."""

    def read(self) -> Frame:
        """Return the next picture; `ReaderUnavailable` says why there is none."""

    def close(self) -> None:
        """Give the device back."""


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A picture and when it came."""

    pixels: Frame
    at_ns: int


def open_frames(source: str, stopped: threading.Event) -> FrameSource:
    """Open a device index, an address, or `file:` with a picture, a folder of pictures or a video.

    Args:
        stopped: ends the pauses between a file's pictures.

    Raises:
        ReaderUnavailable: it does not open now.
    """
    _tame_opencv()
    if not source.startswith("file:"):
        return LiveCapture(source)
    path = Path(source.removeprefix("file:"))
    if path.is_dir() or path.suffix.lower() in STILL_SUFFIXES:
        return Stills(path, stopped)
    return Video(path, stopped)


class LiveCapture:
    """A camera by its index, or a stream by its address."""

    def __init__(self, source: str) -> None:
        self._capture = _open_device(int(source)) if source.isdecimal() else _open_stream(source)
        if not self._capture.isOpened():
            raise ReaderUnavailable("the camera does not open", code="reader_unplugged")

    def read(self) -> Frame:
        """Return the next picture."""
        seen, pixels = self._capture.read()
        if not seen:
            raise ReaderUnavailable("the camera's stream ended", code="reader_unplugged")
        return pixels

    def close(self) -> None:
        """Give the camera back."""
        self._capture.release()


class Video:
    """A recording, played at its own pace over and over."""

    def __init__(self, path: Path, stopped: threading.Event) -> None:
        self._path = path
        self._stopped = stopped
        self._capture = self._open()
        frames_per_s = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._interval_s = 1 / min(max(frames_per_s, 1.0), VIDEO_FRAMES_PER_S_MAX)

    def read(self) -> Frame:
        """Return the next picture, after the last one the first again."""
        self._stopped.wait(self._interval_s)
        seen, pixels = self._capture.read()
        if not seen:
            self._capture.release()
            self._capture = self._open()
            seen, pixels = self._capture.read()
        if not seen:
            raise ReaderUnavailable("the recording holds no picture")
        return pixels

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = _open_stream(str(self._path))
        if not capture.isOpened():
            raise ReaderUnavailable("the recording does not open")
        return capture


class Stills:
    """A picture file, or the pictures of a folder in the order of their names, over and over."""

    def __init__(self, path: Path, stopped: threading.Event) -> None:
        self._path = path
        self._stopped = stopped
        self._order: Iterator[Path] = cycle(_list_stills(path))
        self._read: tuple[Path, int, Frame] | None = None

    def read(self) -> Frame:
        """Return the next picture; a file is read again when it has changed."""
        self._stopped.wait(1 / STILLS_PER_S)
        path = next(self._order)
        try:
            changed_ns = path.stat().st_mtime_ns
        except OSError:
            raise ReaderUnavailable("the picture is gone") from None
        if self._read is None or self._read[:2] != (path, changed_ns):
            self._read = path, changed_ns, _read_still(path)
        return self._read[2]

    def close(self) -> None:
        """Nothing is kept open."""


class Grabber:
    """Reads a source in a thread of its own and keeps only the newest picture."""

    def __init__(self, source: str) -> None:
        """Open the source and start reading.

        Raises:
            ReaderUnavailable: it does not open now.
        """
        self._stopped = threading.Event()
        self._frames = open_frames(source, self._stopped)
        self._changed = threading.Condition()
        self._newest: SeenFrame | None = None
        self._failure: ReaderUnavailable | None = None
        self._quiet_until_ns = time.monotonic_ns() + FIRST_FRAME_MS_MAX * _NS_PER_MS
        self._thread = threading.Thread(target=self._run, name=f"camera {source}", daemon=True)
        self._thread.start()

    def take(self, deadline_ns: int) -> SeenFrame | None:
        """Return the newest picture not taken before, None if none comes by then.

        Args:
            deadline_ns: of time.monotonic_ns.

        Raises:
            ReaderUnavailable: the source failed, or has given no picture for too long.
        """
        with self._changed:
            while True:
                frame, self._newest = self._newest, None
                now_ns = time.monotonic_ns()
                if frame is not None and now_ns - frame.at_ns <= FRAME_AGE_MS_MAX * _NS_PER_MS:
                    return frame
                self._check(now_ns)
                if now_ns >= deadline_ns:
                    return None
                self._changed.wait((min(deadline_ns, self._quiet_until_ns) - now_ns) / 1e9)

    def stop(self) -> None:
        """End the thread and give the source back, within STOP_MS_MAX or, if it is stuck, soon after."""
        self._stopped.set()
        self._thread.join(STOP_MS_MAX / 1000)

    def _check(self, now_ns: int) -> None:
        if self._failure is not None:
            raise ReaderUnavailable(str(self._failure), code=self._failure.code)
        if now_ns >= self._quiet_until_ns:
            raise ReaderUnavailable("the camera sends no pictures", code="camera_no_pictures")

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._keep(self._frames.read())
        except ReaderUnavailable as failure:
            self._fail(failure)
        except Exception as error:  # noqa: BLE001 - whatever OpenCV throws, the scanner must hear of it
            reason = f"the camera's library failed: {type(error).__name__}"
            self._fail(ReaderUnavailable(reason, code="reader_failed"))
        finally:
            # Released here and not in `stop`: OpenCV must not close what another thread is reading.
            self._frames.close()

    def _keep(self, pixels: Frame) -> None:
        now_ns = time.monotonic_ns()
        with self._changed:
            self._newest = SeenFrame(pixels, now_ns)
            self._quiet_until_ns = now_ns + FRAME_GAP_MS_MAX * _NS_PER_MS
            self._changed.notify_all()

    def _fail(self, failure: ReaderUnavailable) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()


def _tame_opencv() -> None:
    # One core of a till is plenty for pictures; the pool of threads would only cost memory.
    cv2.setNumThreads(1)
    # Both would write on the daemon's stderr, addresses included; what matters is raised and logged by us.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_LOG_QUIET)


def _open_device(index: int) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(index)
    # Drivers that keep a queue of pictures are asked for the shortest one; those that cannot, ignore it.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _open_stream(address: str) -> cv2.VideoCapture:
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_MS_MAX,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        READ_MS_MAX,
        cv2.CAP_PROP_N_THREADS,
        1,
    ]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)


def _list_stills(path: Path) -> list[Path]:
    found = [path]
    if path.is_dir():
        found = sorted(item for item in path.iterdir() if item.suffix.lower() in STILL_SUFFIXES)[:STILLS_MAX]
    if not found or not found[0].is_file():
        raise ReaderUnavailable("there is no picture")
    return found


def _read_still(path: Path) -> Frame:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ReaderUnavailable("the picture cannot be read")
    return np.asarray(pixels)
