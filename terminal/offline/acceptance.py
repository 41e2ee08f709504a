"""The one door through which a sale accepts a payment offline: judged and stored as one step."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from terminal.errors import JournalUnwritable
from terminal.offline.queue import AcceptedPayment, OfflineQueue, StoredPayment
from terminal.offline.rules import (
    OfflineSale,
    RefusedTap,
    Trust,
    device_key_id_of,
    judge_sale,
    judge_tap,
)
from wire.money import Money

SUSPECTS_MAX: Final = 1_000
"""Keys remembered as copied; those suspected longest ago are forgotten first."""
COPY_SUSPECTED: Final = "card_copy_suspected"
ALREADY_PRESENTED: Final = "already_presented"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AcceptedOffline:
    """The payment is sealed and on disk; the merchant bears no loss of it if the rules were kept."""

    payment: StoredPayment


@dataclass(frozen=True, slots=True)
class RefusedOffline:
    """Nothing was accepted and nothing stored."""

    code: str
    """A code of wire/notices.py: a refusal, or `journal_unwritable`."""


class OfflineAcceptance:
    """Accepts taps for one enrolled terminal; its calls block and may come from any thread."""

    def __init__(
        self,
        queue: OfflineQueue,
        trust: Callable[[], Trust],
        *,
        merchant_id: str,
        terminal_id: str,
        now_ms: Callable[[], int],
    ) -> None:
        """Prepare to accept.

        Args:
            trust: returns what the gateway has said so far (`TrustStore.trust`).
            merchant_id, terminal_id: who the terms must name: this terminal's enrolment.
            now_ms: unix milliseconds.
        """
        self._queue = queue
        self._trust = trust
        self._merchant_id = merchant_id
        self._terminal_id = terminal_id
        self._now_ms = now_ms
        # Two taps judged side by side could each fit a limit that both together do not.
        self._lock = threading.Lock()
        self._suspects: OrderedDict[bytes, None] = OrderedDict()

    def refusal_before_tap(self, amount: Money) -> str | None:
        """Return why no tap for this amount could be accepted now, None if one could; stores nothing."""
        sale = OfflineSale(amount, self._merchant_id, self._terminal_id)
        return judge_sale(sale, self._trust(), self._queue.exposure(), now_ms=self._now_ms())

    def accept(
        self, token: bytes, credential: bytes, *, attempt_id: str, order_id: str, amount: Money
    ) -> AcceptedOffline | RefusedOffline:
        """Judge a tap by every rule and, if it keeps them, seal and store it.

        What is returned as accepted survives power loss; the same tap under the same attempt id gets the same
        record again while that waits. A kill before this returns may leave a record that
        nobody was told of; like an answer that was lost, it is found by its attempt id.

        A key that has once contradicted itself here gets nothing more from this terminal until it is started
        again: the next tap of a copy may fit what was seen, and still be a copy's.

        Args:
            token, credential: as the reader presented them.
            attempt_id: a ULID that was never sent to the gateway.
        """
        with self._lock:
            now_ms = self._now_ms()
            known = self._queue.find_by_token(token)
            if known is not None:
                # The very same tap once more is no second claim under its counter, and no second payment.
                is_same = known.record.attempt_id == attempt_id
                return AcceptedOffline(known) if is_same else RefusedOffline(ALREADY_PRESENTED)
            key_id = device_key_id_of(token)
            if key_id in self._suspects:
                return RefusedOffline(COPY_SUSPECTED)
            verdict = judge_tap(
                token,
                credential,
                OfflineSale(amount, self._merchant_id, self._terminal_id),
                self._trust(),
                self._queue.exposure(),
                None if key_id is None else self._queue.find_device(key_id),
                now_ms=now_ms,
            )
            if isinstance(verdict, RefusedTap):
                self._note_suspicion(verdict.code, key_id, attempt_id)
                return RefusedOffline(verdict.code)
            payment = AcceptedPayment(
                attempt_id=attempt_id,
                order_id=order_id,
                amount=amount,
                accepted_ms=now_ms,
                clock_set_ms=verdict.clock_set_ms,
                list_issued_s=verdict.list_issued_s,
                token=token,
                credential=credential,
            )
            try:
                return AcceptedOffline(self._queue.store(payment))
            except JournalUnwritable as error:
                log.error("offline_payment_not_stored", attempt_id=attempt_id, reason=str(error))
                return RefusedOffline(error.code)

    def _note_suspicion(self, code: str, key_id: bytes | None, attempt_id: str) -> None:
        # Judged only of what the key itself has signed, so nobody else can bring a key under suspicion.
        if code != COPY_SUSPECTED or key_id is None:
            return
        log.warning("offline_card_copy_suspected", attempt_id=attempt_id, key_id=key_id.hex())
        self._suspects[key_id] = None
        while len(self._suspects) > SUSPECTS_MAX:
            self._suspects.popitem(last=False)
