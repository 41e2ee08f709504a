"""A card in a slot of vsmartcard's vpcd driver, which pcscd takes for a reader.

pcscd's driver listens; a connection is a card in the slot, its end is the card's removal. A message is two
bytes of length, high byte first, and a payload: one byte 00 power off, 01 power on, 02 reset (no answer),
04 asks for the ATR; anything longer is a command APDU. (vsmartcard 3.3, src/vpcd/vpcd.c.)
"""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import Future
from functools import reduce
from operator import xor
from typing import Final

import structlog

from simulators.cards.card import CardTorn, MemoryTag, SimulatedCard
from simulators.fields.card_worker import CardWorker, is_memory_tag, processor_of

LOOPBACK: Final = "127.0.0.1"
CONNECT_S_MAX: Final = 0.5
"""The driver's queue holds one caller: one more hangs in SYN for minutes unless it gives up."""
RECONNECT_S: Final = 0.02
ANSWER_S_MAX: Final = 10.0
"""A card that takes longer falls out of the slot: the driver itself would wait for ever."""
END_S_MAX: Final = 10.0
"""How long taking a card out waits for its thread."""
HISTORICAL_BYTES_MAX: Final = 15
STORAGE_CARD_ATR: Final = bytes.fromhex("3B8F8001804F0CA0000003060300030000000068")
"""PC/SC part 3, section 3.1.3.2.3: ISO 14443 A part 3, MIFARE Ultralight."""
GET_UID: Final = bytes.fromhex("FFCA0000")
INSTRUCTION_UNKNOWN: Final = bytes.fromhex("6D00")
POWER_OFF, POWER_ON, RESET, GET_ATR = 0x00, 0x01, 0x02, 0x04

_log = structlog.get_logger(__name__)


class VpcdSlot:
    """One slot of a virtual reader.

    Args:
        port: where the driver listens on the loopback address: the reader's port, plus one for slot 1.
        reader_name: the name pcscd lists this slot under.
        atr: an ATR to give instead of the right one, for cards that get it wrong.
        answer_s_max: how long a card may take; one that takes longer falls out of the slot.
    """

    def __init__(
        self,
        port: int,
        *,
        reader_name: str = "Virtual PCD 00 00",
        atr: bytes | None = None,
        answer_s_max: float = ANSWER_S_MAX,
    ) -> None:
        self.reader_path = f"pcsc:{reader_name}"
        self._port = port
        self._atr = atr
        self._answer_s_max = answer_s_max
        self._insertion: _Insertion | None = None
        self._hands = threading.RLock()
        """Who changes what is in the slot; two at once would leave a card behind that nobody can pull out."""

    def start(self) -> None:
        """Do nothing: pcscd holds the reader, and an empty slot has no connection."""

    def present(self, card: SimulatedCard | MemoryTag) -> None:
        """Put a card into the slot; replaces one that is there."""
        self._insert(card, self._atr)

    def present_odd(self, card: SimulatedCard | MemoryTag, atr: bytes) -> None:
        """Put a card into the slot that gives this ATR instead of the right one."""
        self._insert(card, atr)

    def remove(self) -> None:
        """Pull the card out, in the middle of a command if there is one."""
        with self._hands:
            if self._insertion is not None:
                self._insertion.end()
                self._insertion = None

    def stop(self) -> None:
        """Pull the card out; may be called twice."""
        self.remove()

    def _insert(self, card: SimulatedCard | MemoryTag, atr: bytes | None) -> None:
        with self._hands:
            self.remove()
            self._insertion = _Insertion(card, self._port, atr, self._answer_s_max)
            self._insertion.start()


class _Insertion:
    """One card in the slot, from insertion to removal: a thread, a connection, a worker."""

    def __init__(
        self, card: SimulatedCard | MemoryTag, port: int, atr: bytes | None, answer_s_max: float
    ) -> None:
        self._card = card
        self._answer_s_max = answer_s_max
        self._port = port
        self._atr = atr if atr is not None else atr_of(card)
        self._worker = None if is_memory_tag(card) else CardWorker(processor_of(card))
        self._ended = threading.Event()
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()
        self._powered = False
        self._thread = threading.Thread(target=self._run, name="vpcd-slot", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        with self._lock:
            if self._connection is not None:
                # Wakes the thread out of its recv, and is the removal as the driver sees it.
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=END_S_MAX)
        self._power(False)
        if self._worker is not None:
            self._worker.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._stay()
            except CardTorn:
                self._ended.set()
            except OSError:
                # pcscd is not there, restarts, or its queue is full: the card stays in the slot.
                self._ended.wait(RECONNECT_S)
            except Exception:  # noqa: BLE001 - the connection must not be left open and dead
                _log.exception("simulated_card_failed")
                self._ended.set()

    def _stay(self) -> None:
        with socket.create_connection((LOOPBACK, self._port), timeout=CONNECT_S_MAX) as connection:
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connection = connection
                if self._ended.is_set():
                    return
            try:
                while True:
                    self._answer(connection, _receive(connection))
            finally:
                with self._lock:
                    self._connection = None

    def _answer(self, connection: socket.socket, message: bytes) -> None:
        if len(message) != 1:
            self._power(True)
            self._send(connection, self._transmit(message))
        elif message[0] == GET_ATR:
            self._send(connection, self._atr)
        else:
            self._power(False)
            self._power(message[0] != POWER_OFF)

    def _send(self, connection: socket.socket, answer: bytes) -> None:
        if not self._ended.is_set():
            connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _transmit(self, command: bytes) -> bytes:
        if command[:4] == GET_UID:
            return self._card.uid + bytes.fromhex("9000")
        if self._worker is None:
            return INSTRUCTION_UNKNOWN
        answer = self._patiently(self._worker.submit(command))
        if not answer:
            # The driver waits for ever after an answer of no bytes; no reader could carry one either.
            raise CardTorn
        return answer

    def _patiently(self, answer: Future[bytes]) -> bytes:
        """Wait for the card, but not past its removal and not for ever."""
        waited_s = 0.0
        while not self._ended.is_set() and waited_s < self._answer_s_max:
            try:
                return answer.result(timeout=RECONNECT_S)
            except TimeoutError:
                waited_s += RECONNECT_S
        raise CardTorn

    def _power(self, on: bool) -> None:
        if on == self._powered:
            return
        self._powered = on
        if on:
            self._card.power_on()
            return
        if self._worker is not None:
            self._worker.settle()
        self._card.power_off()


def atr_of(card: SimulatedCard | MemoryTag) -> bytes:
    """Make the ATR a contactless PC/SC reader gives for a card (PC/SC part 3, section 3.1.3.2.3)."""
    if is_memory_tag(card):
        return STORAGE_CARD_ATR
    historical = processor_of(card).historical_bytes[:HISTORICAL_BYTES_MAX]
    body = bytes((0x80 | len(historical), 0x80, 0x01)) + historical
    return b"\x3b" + body + bytes((reduce(xor, body),))


def _receive(connection: socket.socket) -> bytes:
    length = int.from_bytes(_receive_exactly(connection, 2), "big")
    return _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        # The driver sends length and payload in two segments: without this, before every recv, its
        # Nagle waits for our delayed acknowledgement, 44 ms an APDU.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("pcscd closed the slot")
        data += piece
    return data
