"""PC/SC readers through pyscard: contact and contactless readers that pcscd serves.

pyscard's CardMonitor is not used: its thread ends silently when pcscd restarts. This module asks pcscd
itself, with one context per reader, because a context can do one thing at a time.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Final

from terminal.errors import CardRemoved, PresentationRefused, ReaderNotInstalled, ReaderUnavailable
from terminal.readers.card_reader import CardTechnology
from terminal.readers.response_completion import complete_response

CONNECT_TRIES_MAX: Final = 3
CONNECT_PAUSE_S: Final = 0.03
"""A card that is still settling is asked again; three tries are less than a tenth of a second."""
SETTLE_MS: Final = 450
"""pcscd looks for cards every 400 ms where a reader does not tell it of its own accord."""
STORAGE_CARD_ATR: Final = bytes.fromhex("804F0CA000000306")
"""Historical bytes of a storage card: category, application identifier of PC/SC (part 3, 3.1.3.2.3)."""
STORAGE_CARD_ATR_OFFSET: Final = 4
STATUS_BYTES: Final = 2

# hresults of pcsc-lite's winscard.h, written out so that this module imports without pyscard.
_PRESENT = 0x0004
"""Bit of the state SCardStatus gives; pyscard does not export it."""
_SUCCESS = 0x00000000
_TIMEOUT = 0x8010000A
_NO_CARD = frozenset({0x8010000C, 0x80100069, 0x80100068, 0x80100016, 0x8010002F})
"""E_NO_SMARTCARD, W_REMOVED_CARD, W_RESET_CARD, E_NOT_TRANSACTED, E_COMM_DATA_LOST."""
_UNUSABLE_CARD = frozenset({0x8010000F, 0x80100065, 0x80100066, 0x80100067, 0x80100015})
"""E_PROTO_MISMATCH, W_UNSUPPORTED_CARD, W_UNRESPONSIVE_CARD, W_UNPOWERED_CARD, E_INVALID_ATR."""
_REASONS: Final = {
    0x8010001D: ("reader_service_down", "pcscd does not run"),
    0x8010001E: ("reader_service_down", "pcscd stopped"),
    0x80100013: ("reader_service_down", "pcscd's connection broke"),
    0x80100009: ("reader_unknown", "no such reader"),
    0x80100017: ("reader_unplugged", "the reader was unplugged"),
    0x8010002E: ("reader_unplugged", "no reader is plugged in"),
    0x8010000B: ("reader_in_use", "another program holds the card"),
    0x8010006A: ("reader_not_allowed", "this user may not use readers"),
}
"""What pcscd answers: a condition of wire/notices, and the same in a technician's words."""


def choose_reader(wanted: str, names: Sequence[str]) -> str:
    """Return the reader meant: the one of that name, or the only one that begins with it.

    >>> choose_reader("ACS ACR122U PICC Interface", ["ACS ACR122U PICC Interface 01 00"])
    'ACS ACR122U PICC Interface 01 00'

    Raises:
        ReaderUnavailable: none or several begin with it.
    """
    if wanted in names:
        return wanted
    candidates = [name for name in names if name.startswith(f"{wanted} ")]
    if len(candidates) > 1:
        raise ReaderUnavailable(
            "several readers begin with this name: give the whole one", code="reader_unknown"
        )
    if not candidates:
        raise ReaderUnavailable("no such reader", code="reader_unknown")
    return candidates[0]


class PcscReader:
    """One reader of pcscd, chosen by its full name or by its beginning.

    pcscd ends each name with two numbers that change with the order of plugging in, so
    `ACS ACR122U PICC Interface` is the better name for a till's only one of that kind.
    """

    def __init__(self, name: str) -> None:
        self.path = f"pcsc:{name}"
        self._wanted = name
        self._name = name
        self._scard: ModuleType | None = None
        self._context: int | None = None
        self._refused_state: int | None = None
        self._last: PcscConnection | None = None
        self._last_state = 0

    def open(self) -> None:
        """Connect to pcscd and see that the reader is there; errors as CardReader.open."""
        self.close()
        self._scard = _load_pyscard()
        result, context = self._scard.SCardEstablishContext(self._scard.SCARD_SCOPE_USER)
        _check(result)
        self._context = context
        self._name = choose_reader(self._wanted, self._scard.SCardListReaders(context, [])[1])
        self._change(0, self._scard.SCARD_STATE_UNAWARE)

    def wait_for_card(self, timeout_ms: int) -> PcscConnection | None:
        """Return the card in the reader, waiting for one; errors as CardReader.wait_for_card."""
        deadline_ns = time.monotonic_ns() + timeout_ms * 1_000_000
        scard = self._opened()
        self._settle()
        known = scard.SCARD_STATE_UNAWARE if self._refused_state is None else self._refused_state
        while True:
            left_ms = max(0, (deadline_ns - time.monotonic_ns()) // 1_000_000)
            state = self._change(left_ms, known)
            if state is None:
                return None
            known, self._refused_state = state, None
            connection = self._connect(state) if state & scard.SCARD_STATE_PRESENT else None
            if connection is not None or left_ms == 0:
                return connection

    def close(self) -> None:
        """Let go of pcscd; never raises."""
        self._refused_state = self._last = None
        if self._scard is not None and self._context is not None:
            self._scard.SCardReleaseContext(self._context)
        self._context = None

    def _opened(self) -> ModuleType:
        if self._scard is None or self._context is None:
            raise ReaderUnavailable("not open")
        return self._scard

    def _settle(self) -> None:
        """After a card was torn out, give pcscd the time of one poll to notice.

        Until then it shows the card, and connecting to it would only tear again. A card that came so fast
        that pcscd never saw the slot empty is met after that time.
        """
        last, self._last = self._last, None
        if last is not None and last.is_lost:
            self._change(SETTLE_MS, self._last_state)

    def _change(self, timeout_ms: int, known: int) -> int | None:
        """Return the reader's state once it differs from the known one; None when the time is over."""
        scard = self._opened()
        result, states = scard.SCardGetStatusChange(self._context, timeout_ms, [(self._name, known)])
        if _unsigned(result) == _TIMEOUT:
            return None
        _check(result)
        state = int(states[0][1])
        if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE | scard.SCARD_STATE_IGNORE):
            raise ReaderUnavailable("no such reader", code="reader_unknown")
        return state & ~int(scard.SCARD_STATE_CHANGED)

    def _connect(self, state: int) -> PcscConnection | None:
        scard = self._opened()
        for _ in range(CONNECT_TRIES_MAX):
            result, card, protocol = scard.SCardConnect(
                self._context,
                self._name,
                scard.SCARD_SHARE_SHARED,
                scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1,
            )
            if _unsigned(result) == _SUCCESS:
                self._last, self._last_state = PcscConnection(scard, card, protocol), state
                return self._last
            if _unsigned(result) in _NO_CARD:
                return None
            if _unsigned(result) not in _UNUSABLE_CARD:
                _check(result)
            time.sleep(CONNECT_PAUSE_S)
        # Kept, so that the same thing left lying is not refused again and again.
        self._refused_state = state
        raise PresentationRefused("the reader can't activate it", code="card_not_supported")


class PcscConnection:
    """One card that pcscd has connected us to."""

    def __init__(self, scard: ModuleType, card: int, protocol: int) -> None:
        self._scard = scard
        self._card = card
        self._protocol = protocol
        self.is_lost = False
        """Whether the card stopped answering; then nothing goes over this connection any more."""
        self._closed = False
        self.technology = _technology(self._status()[1])

    def transmit(self, command: bytes) -> bytes:
        """Send one command; errors as CardConnection.transmit."""
        return complete_response(self._exchange, command)

    def is_present(self) -> bool:
        """Ask pcscd whether this card is still there; its knowledge is up to one of its polls old."""
        return not self.is_lost and not self._closed and self._status()[0]

    def close(self) -> None:
        """Let go of the card; never raises.

        It is left as it is: a reset would reach whatever card came after it, behind pcscd's back. The next
        dialogue begins with SELECT, which forgets what was before.
        """
        self._closed = True
        self._scard.SCardDisconnect(self._card, self._scard.SCARD_LEAVE_CARD)

    def _exchange(self, command: bytes) -> bytes:
        if self.is_lost or self._closed:
            raise CardRemoved("this connection is over")
        protocol = self._scard.SCARD_PCI_T1
        if self._protocol == self._scard.SCARD_PROTOCOL_T0:
            protocol = self._scard.SCARD_PCI_T0
        result, response = self._scard.SCardTransmit(self._card, protocol, list(command))
        if _unsigned(result) in _NO_CARD | _UNUSABLE_CARD:
            # Never again over this handle: after a swap inside one poll it would reach the next card.
            self.is_lost = True
            raise CardRemoved("the card left the reader")
        if _unsigned(result) != _SUCCESS:
            self.is_lost = True
            _check(result)
        if len(response) < STATUS_BYTES:
            # pcscd reports success without an answer when the card is torn out of a command.
            self.is_lost = True
            raise CardRemoved("the card left in the middle of a command")
        return bytes(response)

    def _status(self) -> tuple[bool, bytes]:
        """Return whether pcscd still holds this card, and its ATR."""
        result, _, state, _, atr = self._scard.SCardStatus(self._card)
        present = _unsigned(result) == _SUCCESS and bool(state & _PRESENT)
        return present, bytes(atr) if present else b""


def _technology(atr: bytes) -> CardTechnology:
    is_storage = atr[STORAGE_CARD_ATR_OFFSET:].startswith(STORAGE_CARD_ATR)
    return CardTechnology.UID_ONLY if is_storage else CardTechnology.ISO_DEP


def _load_pyscard() -> ModuleType:
    try:
        return importlib.import_module("smartcard.scard")
    except (ImportError, OSError):
        raise ReaderNotInstalled("pyscard is not installed: PC/SC readers are off") from None


def _check(result: int) -> None:
    """Translate pcscd's answer.

    Raises:
        ReaderUnavailable: anything but success, named where it has a name.
    """
    code = _unsigned(result)
    if code != _SUCCESS:
        condition, reason = _REASONS.get(code, ("reader_failed", f"pcscd answered {code:08X}"))
        raise ReaderUnavailable(reason, code=condition)


def _unsigned(result: int) -> int:
    # Builds of pyscard differ in whether an hresult is negative.
    return result & 0xFFFFFFFF
