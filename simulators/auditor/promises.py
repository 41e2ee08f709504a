"""What clients were told, held against the books: nothing answered is lost, doubled, or made up.

A client writes down every attempt before it is sent and every answer after it came. `check_promises`
then finds what the books owe to whom.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from simulators.auditor.books.books import Books
from simulators.auditor.books.histories import History, StoredPayment
from simulators.auditor.findings import Finding


@dataclass(frozen=True, slots=True)
class Told:
    """A decision as a client read it."""

    payment_id: str
    approved: bool
    decline_code: str | None = None


@dataclass(slots=True)
class Promise:
    """One attempt of one client, with everything it heard about it."""

    terminal_id: str
    attempt_id: str
    amount_minor: int
    told: Told | None = None
    """The first decision that reached the client; None while it knows nothing."""
    refused: bool = False
    """It was told that nothing was booked, and never asked again."""
    use: Hashable | None = None
    """What was presented, where it may pay only once: a token, a tap, a code."""
    given_back: bool = False
    """Its till heard that nothing of it stays charged or held: it was voided, or reversed, seen or not."""
    captured_minor: int | None = None
    """What its till heard to be captured, tip included."""
    refunded_minor: int = 0
    """The highest total that a till heard to be refunded."""


def check_promises(promises: Iterable[Promise], books: Books) -> list[Finding]:
    """Return every promise that the books do not keep, and every payment nobody asked for.

    A promise that was neither answered nor refused may stand once, or not at all. What may be used once
    must be the same value in every promise that presents it.
    """
    standing: dict[tuple[str, str], list[History]] = defaultdict(list)
    for history in books.histories:
        standing[history.payment.terminal_id, history.payment.attempt_id].append(history)
    findings: list[Finding] = []
    paid_by: Counter[Hashable] = Counter()
    for promise in promises:
        found = standing.pop((promise.terminal_id, promise.attempt_id), [])
        findings += _check(promise, found)
        paid_by[promise.use] += sum(history.payment.taken for history in found)
    del paid_by[None]
    findings += [Finding("used_twice", repr(use)) for use, count in paid_by.items() if count > 1]
    return findings + [Finding("nobody_asked", attempt_id) for _, attempt_id in standing]


def _check(promise: Promise, found: list[History]) -> Iterator[Finding]:
    if len(found) > 1:
        yield Finding("doubled", promise.attempt_id)
    if promise.told is not None and not found:
        yield Finding("lost", promise.attempt_id)
    if promise.refused and found:
        yield Finding("refused_but_booked", promise.attempt_id)
    for history in found:
        payment = history.payment
        yield from _check_life(promise, history)
        if payment.amount_minor != promise.amount_minor:
            yield Finding("other_amount", promise.attempt_id)
        if promise.told is not None and promise.told != _told_of(payment):
            yield Finding("other_decision", promise.attempt_id)


def _check_life(promise: Promise, history: History) -> Iterator[Finding]:
    """What was heard of captures, refunds and reversals is so."""
    if promise.given_back and history.spent_minor:
        yield Finding("taken_after_all", promise.attempt_id)
    if promise.captured_minor is not None and history.charge[0] != promise.captured_minor:
        yield Finding("other_capture", promise.attempt_id)
    if promise.refunded_minor > history.refunded_minor and history.state != "reversed":
        yield Finding("refund_lost", promise.attempt_id)


def _told_of(payment: StoredPayment) -> Told:
    return Told(payment.payment_id, payment.approved, payment.decline_code)
