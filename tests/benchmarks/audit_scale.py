"""The audit of a large ledger: how long it takes, and that its memory does not grow with what was booked.

    python -m tests.benchmarks.audit_scale 1000000 10000000

For each number a file of that many transfers is written row by row with a valid chain, past the booking code,
which would take hours. Then the audit runs as a process of its own, and a line says what the kernel knows of
its time and of the most memory it had resident. A file takes about 450 bytes per transfer, and while it is
audited some 50 more in SQLITE_TMPDIR.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.audit import audit
from gateway.ledger.chain import GENESIS, hash_group
from gateway.ledger.model import GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.payments.settlement import DAY_MS, Parties, capture, fee_of, refund, transfer_id_of
from gateway.storage.sqlite.migrate import migrate
from wire.ids import ulid_from_bytes

SEED = 20_261_122
START_MS = 1_767_225_600_000
WALLETS = 20_000
MERCHANTS = 200
FEE_BASIS_POINTS = 140
FUNDS_MINOR = 10**12
HELD_MINOR = 10
PAYMENTS_PER_DAY = 200_000
PAYMENTS_PER_HOLD = 50
"""After so many payments comes a hold, and the end of the one before it; and a payment that is held, captured
and refunded."""
PAYMENTS_PER_COMMIT = 20_000
OUTSIDE, FEES = b"outside".ljust(16, b"."), b"fees".ljust(16, b".")

Row = tuple[object, ...]
Rows = dict[str, list[Row]]
Tables = Iterator[tuple[str, list[Row]]]
"""Into which table and columns which rows go, or which UPDATE is done with them."""


@dataclass(frozen=True, slots=True)
class AuditCost:
    """What one audit took, in the process's own words."""

    groups: int
    transfers: int
    file_mib: int
    seconds: float
    processor_seconds: float
    processor_us_per_group: float
    resident_mib_max: int


@dataclass(slots=True)
class _Counters:
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0


@dataclass(slots=True)
class _Ledger:
    """Everything that must agree with what was written so far."""

    rng: random.Random
    wallet_count: int
    sequence: int = 0
    head: bytes = GENESIS
    transfer_count: int = 0
    counters: dict[bytes, _Counters] = field(default_factory=lambda: defaultdict(_Counters))
    receipts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    token_counters: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    spent: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    hold: Transfer | None = None


def write_ledger(path: Path, transfer_count: int, *, wallet_count: int = WALLETS) -> None:
    """Write a database file of so many transfers or one more."""
    migrate(path)
    ledger = _Ledger(random.Random(SEED), wallet_count)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        _write(connection, _directory(ledger))
        number = 0
        while ledger.transfer_count < transfer_count:
            _write(connection, _payments(ledger, number, transfer_count))
            number += PAYMENTS_PER_COMMIT
        _write(connection, _totals(ledger))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def measure_audit(path: Path) -> AuditCost:
    """Audit a file in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.audit_scale", "--audit", str(path)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return AuditCost(**json.loads(result.stdout))


def main() -> None:
    """Write, audit and forget a ledger of each size asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "transfers", type=int, nargs="*", help="transfers of a ledger; several, several ledgers"
    )
    parser.add_argument("--folder", type=Path, help="where the files are written (default: a temporary one)")
    parser.add_argument("--audit", type=Path, metavar="FILE", help="only audit this file, and print JSON")
    arguments = parser.parse_args()
    if arguments.audit is not None:
        print(json.dumps(_audit_here(arguments.audit)))  # noqa: T201  the figures are what it is for
    for transfer_count in arguments.transfers:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path = Path(folder) / "ledger.sqlite3"
            write_ledger(path, transfer_count)
            print(measure_audit(path), flush=True)  # noqa: T201


def _audit_here(path: Path) -> dict[str, float]:
    started_s = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF)
    report = audit(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert report.first_break is None, report.first_break
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Not ru_maxrss: that begins with what the parent had resident.
    (resident_kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    return {
        "groups": report.group_count,
        "transfers": report.transfer_count,
        "file_mib": path.stat().st_size >> 20,
        "seconds": round(time.monotonic() - started_s, 1),
        "processor_seconds": round(processor_s, 1),
        "processor_us_per_group": round(processor_s * 1e6 / report.group_count, 1),
        "resident_mib_max": int(resident_kib) >> 10,
    }


def _directory(ledger: _Ledger) -> Tables:
    yield (
        "accounts (account_id, kind, currency, debits_must_not_exceed_credits, frozen, opened_ms)",
        [
            (OUTSIDE, "outside", "EUR", 0, 0, START_MS),
            (FEES, "fees", "EUR", 0, 0, START_MS),
            *((_account("m", number), "merchant", "EUR", 0, 0, START_MS) for number in range(MERCHANTS)),
            *(
                (_account("w", number), "wallet", "EUR", 1, 0, START_MS)
                for number in range(ledger.wallet_count)
            ),
        ],
    )
    yield (
        "merchants (merchant_id, name, fee_basis_points, account_id, status, created_ms)",
        [
            (_merchant(number), "Shop", FEE_BASIS_POINTS, _account("m", number), "active", START_MS)
            for number in range(MERCHANTS)
        ],
    )
    yield "locations", [(f"L{number}", _merchant(number), "Town") for number in range(MERCHANTS)]
    yield (
        "terminals (terminal_id, merchant_id, location_id, status, key_id, public_key, software, code_hash, "
        "code_expires_ms, created_ms)",
        [
            (f"T{number:07d}", _merchant(number), f"L{number}", "active", _key_id("t", number), bytes(33), "",
             _key_id("c", number), START_MS, START_MS)
            for number in range(MERCHANTS)
        ],
    )  # fmt: skip
    yield (
        "wallets (wallet_id, holder_name, account_id, created_ms)",
        [(f"W{number}", "Ada", _account("w", number), START_MS) for number in range(ledger.wallet_count)],
    )
    yield (
        "instruments",
        [
            (_instrument(number), f"W{number}", "phone_key", "Phone", "active", _key_id("i", number),
             bytes(33), "code_numeric", 10**9, 10**9, None, 0, None, None, START_MS)
            for number in range(ledger.wallet_count)
        ],
    )  # fmt: skip
    rows: Rows = defaultdict(list)
    for number in range(ledger.wallet_count):
        leg = _leg(_transfer_id("f", number), OUTSIDE, _account("w", number), FUNDS_MINOR)
        _book(ledger, rows, TransferGroup((leg,), GroupPurpose.FUNDING), START_MS)
    yield from rows.items()


def _payments(ledger: _Ledger, first: int, transfer_count: int) -> Tables:
    rows: Rows = defaultdict(list)
    for number in range(first, first + PAYMENTS_PER_COMMIT):
        if ledger.transfer_count >= transfer_count:
            break
        _pay(ledger, rows, number)
        if number % PAYMENTS_PER_HOLD == 0:
            _hold(ledger, rows, number)
            _live(ledger, rows, number)
    yield from rows.items()


def _pay(ledger: _Ledger, rows: Rows, number: int) -> None:
    rng = ledger.rng
    now_ms = START_MS + number * DAY_MS // PAYMENTS_PER_DAY
    payment_id = ulid_from_bytes(now_ms.to_bytes(6, "big") + rng.randbytes(10))
    attempt_id = ulid_from_bytes(now_ms.to_bytes(6, "big") + rng.randbytes(10))
    wallet, merchant = rng.randrange(ledger.wallet_count), rng.randrange(MERCHANTS)
    amount_minor = rng.randrange(100, 5_000)
    order_id, fee_minor = rng.randbytes(10).hex(), fee_of(amount_minor, FEE_BASIS_POINTS)
    legs = (
        _leg(transfer_id_of(payment_id, 0), _account("w", wallet), _account("m", merchant), amount_minor),
        _leg(
            transfer_id_of(payment_id, 1),
            _account("m", merchant),
            FEES,
            fee_minor,
        ),
    )
    _book(ledger, rows, TransferGroup(legs, GroupPurpose.PAYMENT), now_ms)
    ledger.receipts[merchant] += 1
    ledger.token_counters[wallet] += 1
    ledger.spent[now_ms // DAY_MS, wallet] += amount_minor
    digest = hashlib.sha256(payment_id.encode()).digest()
    rows["orders (merchant_id, order_id, amount_minor, taken_minor)"].append(
        (_merchant(merchant), order_id, amount_minor, amount_minor)
    )
    rows[
        "token_uses (key_id, counter, claims_digest, terminal_id, terminal_nonce, nonce_day, payment_id)"
    ].append(
        (
            _key_id("i", wallet),
            ledger.token_counters[wallet],
            digest,
            f"T{merchant:07d}",
            digest[:8],
            now_ms // DAY_MS,
            payment_id,
        )
    )
    rows["payments"].append(
        (payment_id, attempt_id, digest, f"T{merchant:07d}", _merchant(merchant), order_id, "approved", None,
         amount_minor, 0, fee_minor, "EUR", "nfc_app", False, None, None, _instrument(wallet), "Phone",
         "Shop", "Town", ledger.receipts[merchant], ledger.sequence, now_ms, 21, now_ms)
    )  # fmt: skip


def _live(ledger: _Ledger, rows: Rows, number: int) -> None:
    """Hold a payment, capture it with a tip, and refund a part of it."""
    rng, now_ms = ledger.rng, START_MS + number * DAY_MS // PAYMENTS_PER_DAY
    payment_id, attempt_id, refund_id = (
        ulid_from_bytes(now_ms.to_bytes(6, "big") + rng.randbytes(10)) for _ in range(3)
    )
    wallet, merchant, order_id = (
        rng.randrange(ledger.wallet_count),
        rng.randrange(MERCHANTS),
        rng.randbytes(10).hex(),
    )
    parties = Parties(_account("w", wallet), _account("m", merchant), FEES)
    held, till = _leg(
        transfer_id_of(payment_id, 0), parties.wallet_account_id, parties.merchant_account_id, HELD_MINOR,
        TransferKind.PENDING, expires_ms=now_ms + DAY_MS,
    ), f"T{merchant:07d}"  # fmt: skip
    _book(ledger, rows, TransferGroup((held,), GroupPurpose.HOLD), now_ms)
    rows["pendings"].append((held.transfer_id, held.expires_ms, "posted"))
    rows["payments"].append(
        (payment_id, attempt_id, bytes(32), till, _merchant(merchant), order_id, "authorised", None,
         HELD_MINOR, 2, 0, "EUR", "nfc_sdm", True, None, None, _instrument(wallet), "Card",
         "Shop", "Town", None, ledger.sequence, now_ms, 21, now_ms)
    )  # fmt: skip
    _book(ledger, rows, capture(payment_id, parties, "EUR", charged_minor=9, fee_minor=1), now_ms)
    ledger.receipts[merchant] += 1
    ledger.spent[now_ms // DAY_MS, wallet] += 9
    rows["payment_steps"].append(
        (payment_id, 1, "captured", "succeeded", None, attempt_id, 9, 1, 1, 0, 1, ledger.receipts[merchant],
         ledger.sequence, None, now_ms, till, None)
    )  # fmt: skip
    rows["orders (merchant_id, order_id, amount_minor, taken_minor)"].append(
        (_merchant(merchant), order_id, 8, 8)
    )
    _book(ledger, rows, refund(refund_id, parties, "EUR", amount_minor=5, fee_minor=1), now_ms)
    rows["refunds"].append(
        (refund_id, payment_id, till, now_ms // DAY_MS, 5, 5, 1, "broken", "STAFF1", ledger.sequence, now_ms)
    )


def _hold(ledger: _Ledger, rows: Rows, number: int) -> None:
    now_ms = START_MS + number * DAY_MS // PAYMENTS_PER_DAY
    held = ledger.hold
    if held is not None:
        post = _leg(
            _transfer_id("p", number), held.debit_account_id, held.credit_account_id, 7, TransferKind.POST,
            pending_id=held.transfer_id,
        )  # fmt: skip
        _book(ledger, rows, TransferGroup((post,)), now_ms)
        rows["pendings"].append((held.transfer_id, held.expires_ms, "posted"))
    ledger.hold = _leg(
        _transfer_id("h", number), _account("w", 0), _account("m", 0), HELD_MINOR, TransferKind.PENDING,
        expires_ms=now_ms + DAY_MS,
    )  # fmt: skip
    _book(ledger, rows, TransferGroup((ledger.hold,)), now_ms)


def _book(ledger: _Ledger, rows: Rows, group: TransferGroup, now_ms: int) -> None:
    ledger.sequence += 1
    ledger.head = hash_group(ledger.head, ledger.sequence, now_ms, group)
    rows["ledger_groups (sequence, purpose, booked_ms, leg_count, hash)"].append(
        (ledger.sequence, str(group.purpose), now_ms, len(group.legs), ledger.head)
    )
    for leg_index, leg in enumerate(group.legs):
        _move(ledger, leg)
        rows[
            "transfers (group_sequence, leg_index, transfer_id, kind, debit_account_id, credit_account_id, "
            "amount_minor, currency, pending_id, expires_ms)"
        ].append(
            (ledger.sequence, leg_index, leg.transfer_id, str(leg.kind), leg.debit_account_id,
             leg.credit_account_id, leg.amount_minor, leg.currency, leg.pending_id, leg.expires_ms)
        )  # fmt: skip
    ledger.transfer_count += len(group.legs)


def _move(ledger: _Ledger, leg: Transfer) -> None:
    debit, credit = ledger.counters[leg.debit_account_id], ledger.counters[leg.credit_account_id]
    held = {TransferKind.PENDING: HELD_MINOR, TransferKind.POST: -HELD_MINOR}.get(leg.kind, 0)
    posted = 0 if leg.kind is TransferKind.PENDING else leg.amount_minor
    debit.debits_pending += held
    credit.credits_pending += held
    debit.debits_posted += posted
    credit.credits_posted += posted


def _totals(ledger: _Ledger) -> Tables:
    if ledger.hold is not None:
        yield "pendings", [(ledger.hold.transfer_id, ledger.hold.expires_ms, "open")]
    yield (
        "spent_days (instrument_id, day, spent_minor)",
        [(_instrument(wallet), day, spent) for (day, wallet), spent in ledger.spent.items()],
    )
    yield (
        "UPDATE merchants SET receipt_count = ? WHERE merchant_id = ?",
        [(count, _merchant(number)) for number, count in ledger.receipts.items()],
    )
    yield (
        "UPDATE accounts SET debits_pending = ?, debits_posted = ?, credits_pending = ?, credits_posted = ? "
        "WHERE account_id = ?",
        [
            (c.debits_pending, c.debits_posted, c.credits_pending, c.credits_posted, account_id)
            for account_id, c in ledger.counters.items()
        ],
    )


def _write(connection: sqlite3.Connection, tables: Tables) -> None:
    connection.execute("BEGIN")
    for target, rows in tables:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            statement = target if target.startswith("UPDATE") else f"INSERT INTO {target} VALUES ({marks})"
            connection.executemany(statement, rows)
    connection.execute("COMMIT")


def _leg(
    transfer_id: bytes,
    debit: bytes,
    credit: bytes,
    amount_minor: int,
    kind: TransferKind = TransferKind.SINGLE,
    *,
    pending_id: bytes | None = None,
    expires_ms: int | None = None,
) -> Transfer:
    return Transfer(transfer_id, kind, debit, credit, amount_minor, "EUR", pending_id, expires_ms)


def _account(kind: str, number: int) -> bytes:
    return hashlib.sha256(f"{kind} {number}".encode()).digest()[:16]


def _transfer_id(kind: str, number: int) -> bytes:
    return number.to_bytes(8, "big") + kind.encode().ljust(8, b".")


def _key_id(kind: str, number: int) -> bytes:
    return hashlib.sha256(f"key {kind} {number}".encode()).digest()[:8]


def _merchant(number: int) -> str:
    return f"M{number:014d}"


def _instrument(number: int) -> str:
    return ulid_from_bytes(hashlib.sha256(f"instrument {number}".encode()).digest()[:16])


if __name__ == "__main__":
    main()
