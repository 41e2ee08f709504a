"""Millions of payments written straight into a furnished SQLite ledger, as a gateway would have left them.

Booking them one by one would take an hour of the machine. What is written here are the rows of approved
payments: settled and sealed by the product's own functions, so that the audit walks a valid chain and finds
every total right. It is how a ledger gets old, not a measurement: journal and syncs are off.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.ledger.accounts import operator_account_id
from gateway.ledger.chain import hash_group
from gateway.ledger.model import AccountKind, TransferGroup
from gateway.payments.model import PaymentBooking, TokenUse, Verified
from gateway.payments.settlement import DAY_MS, fee_of, settle
from tests.benchmarks.ledger.presigning import AMOUNT_MINOR_MAX, AMOUNT_MINOR_MIN, COUNTER_MIN
from tests.benchmarks.ledger.scale import SEED
from tests.benchmarks.ledger.town import CURRENCY, FEE_BASIS_POINTS, OPENED_MS, Town, instrument_id_of
from wire.cards.payment_terms import NONCE_BYTES
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import EntryMode

SPAN_MS: Final = 300 * DAY_MS
"""The payments are spread evenly over so many days."""
PAYMENTS_PER_STEP: Final = 10_000
CACHE_KIB: Final = 262_144
NOISE_BYTES: Final = 1 << 20
NOISE_BYTES_MAX: Final = 32
"""Most bytes asked for at once."""

_STATEMENTS: Final = {
    "groups": "INSERT INTO ledger_groups VALUES (?, 'payment', ?, ?, ?)",
    "transfers": "INSERT INTO transfers VALUES (?, ?, ?, 'single', ?, ?, ?, ?, NULL, NULL)",
    "tokens": "INSERT INTO token_uses VALUES (?, ?, ?, ?, ?, ?, ?)",
    "orders": "INSERT INTO orders (order_id, merchant_id, amount_minor, taken_minor) VALUES (?, ?, ?, ?)",
    "payments": f"INSERT INTO payments VALUES ({', '.join('?' * 25)})",
}
_ADD: Final = """
UPDATE accounts SET debits_posted = debits_posted + ?, credits_posted = credits_posted + ?
WHERE account_id = ?
"""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Payer:
    """A phone and the wallet behind it."""

    instrument_id: str
    key_id: bytes
    label: str
    account_id: bytes


@dataclass(frozen=True)
class Site:
    """A till and the merchant behind it."""

    terminal_id: str
    merchant_id: str
    merchant_name: str
    location_name: str
    account_id: bytes


@dataclass
class Totals:
    """What the payments add up to."""

    debits: Counter[bytes] = field(default_factory=Counter)
    credits: Counter[bytes] = field(default_factory=Counter)
    spent: Counter[tuple[int, str]] = field(default_factory=Counter)
    receipts: Counter[str] = field(default_factory=Counter)


def write_history(database: Path, town: Town, count: int, advance: Callable[[int], None]) -> None:
    """Append `count` approved payments to a furnished ledger nobody works with."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
            connection.execute(f"PRAGMA {setting}")
        history = _History(connection, town)
        connection.execute("BEGIN")
        for start in range(0, count, PAYMENTS_PER_STEP):
            numbers = range(start, min(start + PAYMENTS_PER_STEP, count))
            history.write(OPENED_MS + SPAN_MS * number // count for number in numbers)
            advance(len(numbers))
        history.write_totals()
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


class _Noise:
    """Random bytes and ULIDs, cut from one block: making each by itself would take most of the time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._block = rng.randbytes(NOISE_BYTES + NOISE_BYTES_MAX)
        self._text = "".join(
            make_ulid(0, rng.randbytes(ENTROPY_BYTES))[10:] for _ in range(NOISE_BYTES // 16)
        )

    def bytes(self, size: int) -> bytes:
        """Return random bytes."""
        start = self._rng.randrange(NOISE_BYTES)
        return self._block[start : start + size]

    def ulid(self, time_text: str) -> str:
        """Return a ULID with this time; no two payments of a history have the same."""
        start = self._rng.randrange(len(self._text) - 16)
        return time_text + self._text[start : start + 16]


class _History:
    """Where the ledger stands, and who pays whom."""

    def __init__(self, connection: sqlite3.Connection, town: Town) -> None:
        self._connection = connection
        self._rng = random.Random(SEED)
        self._noise = _Noise(self._rng)
        self._payers = list(_read_payers(connection, town))
        self._sites = list(_read_sites(connection, town))
        self._counters = Counter[bytes]()
        self._totals = Totals()
        head = "SELECT sequence, hash FROM ledger_groups ORDER BY sequence DESC LIMIT 1"
        self._sequence, self._hash = connection.execute(head).fetchone()

    def write(self, times_ms: Iterator[int]) -> None:
        """Write one payment at each of these times, which rise."""
        rows: dict[str, list[Row]] = {name: [] for name in _STATEMENTS}
        for now_ms in times_ms:
            self._add(rows, now_ms)
        for name, statement in _STATEMENTS.items():
            self._connection.executemany(statement, rows[name])

    def write_totals(self) -> None:
        """Write what all payments add up to."""
        totals = self._totals
        moved = {*totals.debits, *totals.credits}
        self._connection.executemany(_ADD, [(totals.debits[one], totals.credits[one], one) for one in moved])
        self._connection.executemany(
            "INSERT INTO spent_days (day, instrument_id, spent_minor) VALUES (?, ?, ?)",
            [(*key, spent) for key, spent in sorted(totals.spent.items())],
        )
        self._connection.executemany(
            "UPDATE merchants SET receipt_count = ? WHERE merchant_id = ?",
            [(count, merchant_id) for merchant_id, count in totals.receipts.items()],
        )

    def _add(self, rows: dict[str, list[Row]], now_ms: int) -> None:
        rng = self._rng
        payer, site = rng.choice(self._payers), rng.choice(self._sites)
        booking = self._make_booking(payer, site, now_ms)
        group = settle(
            booking,
            wallet_account_id=payer.account_id,
            merchant_account_id=site.account_id,
            fees_account_id=operator_account_id(AccountKind.FEES, CURRENCY),
            fee_minor=fee_of(booking.amount_minor, FEE_BASIS_POINTS),
        )
        self._sequence += 1
        self._hash = hash_group(self._hash, self._sequence, now_ms, group)
        self._count(booking, group, payer)
        rows["groups"].append((self._sequence, now_ms, len(group.legs), self._hash))
        for leg_index, leg in enumerate(group.legs):
            place = (self._sequence, leg_index, leg.transfer_id)
            accounts = (leg.debit_account_id, leg.credit_account_id)
            rows["transfers"].append((*place, *accounts, leg.amount_minor, CURRENCY))
        rows["tokens"].append(_token_row(booking))
        amount = booking.amount_minor
        rows["orders"].append((booking.order_id, booking.merchant_id, amount, amount))
        number = self._totals.receipts[site.merchant_id]
        rows["payments"].append(_payment_row(booking, payer, site, number, self._sequence))

    def _make_booking(self, payer: Payer, site: Site, now_ms: int) -> PaymentBooking:
        noise, time_text = self._noise, make_ulid(now_ms, bytes(ENTROPY_BYTES))[:10]
        self._counters[payer.key_id] += 1
        counter = self._counters[payer.key_id]
        assert counter < COUNTER_MIN, "the counters above are for the payments that are measured"
        use = TokenUse(payer.key_id, counter, noise.bytes(32), self._rng.randbytes(NONCE_BYTES))
        return PaymentBooking(
            payment_id=noise.ulid(time_text),
            attempt_id=noise.ulid(time_text),
            request_digest=noise.bytes(32),
            terminal_id=site.terminal_id,
            merchant_id=site.merchant_id,
            order_id=noise.ulid(time_text),
            amount_minor=self._rng.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX),
            currency=CURRENCY,
            entry_mode=EntryMode.NFC_APP,
            presented_ms=now_ms,
            card_exchange_ms=45,
            verdict=Verified(payer.instrument_id, use),
            now_ms=now_ms,
        )

    def _count(self, booking: PaymentBooking, group: TransferGroup, payer: Payer) -> None:
        totals = self._totals
        for leg in group.legs:
            totals.debits[leg.debit_account_id] += leg.amount_minor
            totals.credits[leg.credit_account_id] += leg.amount_minor
        totals.spent[booking.now_ms // DAY_MS, payer.instrument_id] += booking.amount_minor
        totals.receipts[booking.merchant_id] += 1


def _read_payers(connection: sqlite3.Connection, town: Town) -> Iterator[Payer]:
    query = """
        SELECT i.instrument_id, i.key_id, i.label, w.account_id
        FROM instruments AS i JOIN wallets AS w USING (wallet_id)
    """
    found = {row[0]: Payer(*row) for row in connection.execute(query)}
    return (found[instrument_id_of(number)] for number in range(town.size.wallet_count))


def _read_sites(connection: sqlite3.Connection, town: Town) -> Iterator[Site]:
    query = """
        SELECT t.terminal_id, t.merchant_id, m.name, l.name, m.account_id
        FROM terminals AS t JOIN merchants AS m USING (merchant_id) JOIN locations AS l USING (location_id)
    """
    found = {row[0]: Site(*row) for row in connection.execute(query)}
    return (found[town.till(number).terminal_id] for number in range(town.size.till_count))


def _token_row(booking: PaymentBooking) -> Row:
    use = booking.single_use
    assert isinstance(use, TokenUse)
    day = booking.now_ms // DAY_MS
    return (
        use.key_id,
        use.counter,
        use.claims_digest,
        booking.terminal_id,
        use.terminal_nonce,
        day,
        booking.payment_id,
    )


def _payment_row(
    booking: PaymentBooking, payer: Payer, site: Site, receipt_number: int, sequence: int
) -> Row:
    return (
        booking.payment_id,
        booking.attempt_id,
        booking.request_digest,
        booking.terminal_id,
        booking.merchant_id,
        booking.order_id,
        "approved",
        None,
        booking.amount_minor,
        0,
        fee_of(booking.amount_minor, FEE_BASIS_POINTS),
        CURRENCY,
        "nfc_app",
        False,
        None,
        None,
        payer.instrument_id,
        payer.label,
        site.merchant_name,
        site.location_name,
        receipt_number,
        sequence,
        booking.presented_ms,
        booking.card_exchange_ms,
        booking.now_ms,
    )
