"""What every radio field shares: one thread that owns a descriptor and the one place for a card."""

from __future__ import annotations

import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Final

import structlog

from simulators.cards.card import CardTorn, MemoryTag, SimulatedCard
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.type_a import TypeACard

JOB_S_MAX: Final = 5.0
"""How long `present` and `remove` wait for the field's thread, which may be waiting for a slow card."""

_log = structlog.get_logger(__name__)


class FieldThread(ABC):
    """A field whose card, descriptor and protocol state are touched by its own thread only."""

    def __init__(self, traits: IsoDepTraits, ats: bytes) -> None:
        self._traits = traits
        self._ats = ats
        self._card: TypeACard | None = None
        self._beside: TypeACard | None = None
        self._jobs: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._wake_read = self._wake_write = -1

    def start(self) -> None:
        """Open the device and answer from now on."""
        if self._thread is not None:
            return
        self._open()
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close everything; may be called twice."""
        if self._thread is None:
            return
        self._do(self._end)
        self._thread.join(timeout=JOB_S_MAX)
        self._thread = None
        self._close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def present(self, card: SimulatedCard | MemoryTag) -> None:
        """Put a card into the field; replaces one that is there."""
        coming = TypeACard(card, self._traits, self._ats)
        self._do(lambda: self._swap(coming))

    def present_odd(self, card: SimulatedCard | MemoryTag, ats: bytes) -> None:
        """Put a card into the field that gives this answer to select instead of the right one."""
        coming = TypeACard(card, self._traits, ats)
        self._do(lambda: self._swap(coming))

    def remove(self) -> None:
        """Take every card out; no card there is no error."""
        self._do(lambda: self._swap(None))

    @abstractmethod
    def _open(self) -> None:
        """Take sockets or terminals."""

    @abstractmethod
    def _close(self) -> None:
        """Give them back."""

    @abstractmethod
    def _descriptor(self) -> int:
        """Return what to wait on."""

    @abstractmethod
    def _read(self) -> None:
        """Take what has arrived and answer it."""

    @abstractmethod
    def _card_came(self) -> None:
        """Answer a reader that is waiting for a card."""

    def _card_left(self) -> None:  # noqa: B027 - a hook that few media have a use for
        """Tell the reader, where the medium can."""

    def _deadline(self) -> float | None:
        """Return the time.monotonic at which `_time_out` is due."""
        return None

    def _time_out(self) -> None:  # noqa: B027 - a hook for fields that have deadlines
        """Give up what was being waited for."""

    def _exchange(self, frame: bytes) -> bytes | None:
        """Let the card answer a frame; a card that tears is gone afterwards."""
        if self._card is None:
            return None
        try:
            return self._card.answer(frame)
        except CardTorn:
            self._swap(None)
        except Exception:  # noqa: BLE001 - a broken simulated card must not take the field down
            _log.exception("simulated_card_failed")
            self._swap(None)
        return None

    def _swap(self, coming: TypeACard | None, beside: TypeACard | None = None) -> None:
        if self._beside is not None:
            self._beside.leave()
        self._beside = beside
        leaving, self._card = self._card, coming
        if leaving is not None:
            leaving.leave()
            self._card_left()
        if coming is not None:
            self._card_came()

    def _end(self) -> None:
        self._swap(None)
        self._stopping = True

    def _do(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            raise RuntimeError("start the field first")
        done: Future[None] = Future()
        self._jobs.put((job, done))
        os.write(self._wake_write, b"\0")
        done.result(timeout=JOB_S_MAX)

    def _run(self) -> None:
        while not self._stopping:
            deadline = self._deadline()
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._descriptor(), self._wake_read], [], [], timeout)
            try:
                self._attend(ready, deadline)
            except OSError:
                # A reader that closes its end mid-frame; the next one finds the field as it is.
                _log.debug("field_interrupted", field=type(self).__name__)

    def _attend(self, ready: list[int], deadline: float | None) -> None:
        if self._wake_read in ready:
            os.read(self._wake_read, 1)
            self._do_jobs()
        elif ready:
            self._read()
        elif deadline is not None:
            self._time_out()

    def _do_jobs(self) -> None:
        try:
            while True:
                _run_job(*self._jobs.get_nowait())
        except Empty:
            return


def _run_job(job: Callable[[], None], done: Future[None]) -> None:
    try:
        job()
    except Exception as error:  # noqa: BLE001 - raised in the thread that asked for the job
        done.set_exception(error)
    else:
        done.set_result(None)
