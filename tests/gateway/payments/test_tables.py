"""Payments as tables: one line an attempt and what it was answered, readable at a counter.

tables/*.txt are read by people first. A file's lines before its first `==` happen before each of its
tables; `#` begins a remark. Every table is played on every store, and on the auditor's model.

merchant NAME CURRENCY fee BASIS_POINTS | suspended
till NAME of MERCHANT
wallet NAME CURRENCY CENTS
phone|card NAME of WALLET limits PER_PAYMENT PER_DAY [weakest ENTRY_MODE]
at MS                                  set the time; it begins at a midnight of UTC
freeze|thaw WALLET · suspend|reactivate INSTRUMENT · withdraw TILL · fund WALLET CENTS
issue CODE for PHONE until MS [taken]  a numeric code; taken: another phone holds it
hold CENTS of WALLET for MERCHANT until MS
ATTEMPT TILL PAYER ENTRY_MODE PRESENTED [refused CODE] CENTS CURRENCY ORDER   ANSWER
    ANSWER is `approved RECEIPT`, a decline's code, or `! CODE` of a problem;
    PRESENTED is `token COUNTER [forged] [nonce N]`, `tap COUNTER`, `code CODE` or `nothing`;
    `refused` is the verdict of verification
NAME has CENTS                         what a wallet may spend, or a merchant is owed
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulators.auditor.books import check_books
from simulators.auditor.ledger import Group, Leg
from simulators.auditor.payments import DAY_MS, Attempt, CardTap, Code, Decision, Token, TurnedAway
from tests.gateway.payments.payment_world import World, add_card_keys
from wire.notices import NOTICES, NoticeKind

if TYPE_CHECKING:
    from tests.databases import Database

NOT_YET_IN_TABLES = {
    "attempt_reversed",
    "confirmation_expired",
    "confirmation_refused",
    "confirmation_unavailable",
    "hold_expired",
    "limit_identity_per_day_exceeded",
    "limit_identity_per_payment_exceeded",
    "offline_record_conflict",
    "offline_record_invalid",
    "offline_record_too_old",
    "offline_rules_broken",
    "order_amount_differs",
    "payment_reversed",
    "payment_voided",
    "pin_locked",
    "tip_margin_exceeded",
    "token_offline_only",
}
FOLDER = Path(__file__).with_name("tables")
MIDNIGHT_MS = 20_000 * DAY_MS
ATTEMPT = re.compile(
    r"(?P<attempt>a\d+) (?P<till>\w+) (?P<payer>[\w-]+) (?P<mode>\w+)"
    r" (?:token (?P<counter>\d+)(?P<forged> forged)?(?: nonce (?P<nonce>\d+))?"
    r"|tap (?P<tap>\d+)|code (?P<code>\d+)|nothing)"
    r"(?: refused (?P<refused>\w+))? (?P<amount>\d+) (?P<currency>[A-Z]{3}) (?P<order>[\w-]+)"
    r" (?:approved (?P<receipt>\d+)|! (?P<problem>\w+)|(?P<decline>\w+))"
)


def read_tables() -> dict[str, list[str]]:
    """Return the lines of each table under its name, with those of its file's beginning before them."""
    tables: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        beginning, *parts = path.read_text(encoding="utf-8").split("\n== ")
        for part in parts:
            title, _, body = part.partition("\n")
            lines = [" ".join(line.split()) for line in f"{beginning}\n{body}".splitlines()]
            tables[f"{path.stem}: {title}"] = [line for line in lines if line and not line.startswith("#")]
    return tables


TABLES = read_tables()


class Cashier:
    """Plays a table line by line, on a store and on the model beside it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._world = World(1, MIDNIGHT_MS)
        self._now_ms = MIDNIGHT_MS
        self._done = 0

    async def play(self, lines: list[str]) -> None:
        await add_card_keys(self._store, self._now_ms)
        for line in lines:
            self._done += 1
            match = ATTEMPT.fullmatch(line)
            if match is None:
                await self._do(line.split(), line)
            else:
                await self._pay(match)
        assert await self._world.differences(self._store, self._now_ms) == []

    async def _pay(self, match: re.Match[str]) -> None:
        attempt = self._attempt(match)
        answer = await self._world.pay(self._store, attempt)
        assert said(answer) == match.string[match.end("order") :].strip(), match.string
        assert self._world.model.pay(attempt) == answer, match.string

    def _attempt(self, match: re.Match[str]) -> Attempt:
        world = self._world
        # The same line is the same request, whatever is answered.
        request = match.string[: match.end("order")]
        return Attempt(
            payment_id=world.ulid("payment", self._done),
            attempt_id=world.ulid("attempt", match["attempt"]),
            request_digest=hashlib.sha256(request.encode()).digest(),
            terminal_id=world.text(match["till"]),
            order_id=match["order"],
            amount_minor=int(match["amount"]),
            currency=match["currency"],
            entry_mode=match["mode"],
            instrument_id=None if match["payer"] == "-" else world.text(match["payer"]),
            use=self._use(match),
            refused=match["refused"],
            now_ms=self._now_ms,
        )

    def _use(self, match: re.Match[str]) -> Token | CardTap | Code | None:
        if match["tap"]:
            return CardTap(int(match["tap"]))
        if match["code"]:
            return Code(self._world.hash_of("code", match["code"]))
        if not match["counter"]:
            return None
        nonce = match["nonce"] or f"of {match['payer']} {match['counter']}"
        return Token(
            key_id=self._world.key(match["payer"]),
            counter=int(match["counter"]),
            claims_digest=self._world.hash_of("claims", (match["counter"], match["forged"])),
            nonce=self._world.hash_of("nonce", nonce)[:8] if match["mode"] == "nfc_app" else None,
        )

    async def _do(self, words: list[str], line: str) -> None:
        match words:
            case ["merchant", name, currency, "suspended"]:
                await self._world.add_merchant(self._store, name, currency, fee_basis_points=0, active=False)
            case ["merchant", name, currency, "fee", fee]:
                await self._world.add_merchant(self._store, name, currency, fee_basis_points=int(fee))
            case ["till", name, "of", merchant]:
                await self._world.add_till(self._store, name, merchant)
            case ["wallet", name, currency, funds]:
                await self._world.add_wallet(self._store, name, currency, int(funds))
            case ["phone" | "card" as kind, name, "of", wallet, "limits", one, day, *weakest]:
                await self._world.add_instrument(
                    self._store,
                    name,
                    wallet,
                    limits=(int(one), int(day)),
                    weakest=weakest[-1] if weakest else "code_numeric",
                    is_card=kind == "card",
                )
            case [name, "has", amount]:
                account_id = self._world.account(name)
                found = await self._store.find_account(account_id)
                assert found.available_minor == int(amount), line
            case _:
                await self._change(words, line)

    async def _change(self, words: list[str], line: str) -> None:
        world, store, model = self._world, self._store, self._world.model
        match words:
            case ["at", time_ms]:
                self._now_ms = MIDNIGHT_MS + int(time_ms)
            case ["freeze" | "thaw" as word, wallet]:
                await world.freeze(store, wallet, word == "freeze")
                model.ledger.set_frozen(world.account(wallet), word == "freeze")
            case ["suspend" | "reactivate" as word, name]:
                await world.set_active(store, name, word == "reactivate")
                model.set_instrument_active(world.text(name), word == "reactivate")
            case ["withdraw", till]:
                await store.revoke_terminal(world.text(till))
                model.set_terminal_active(world.text(till), False)
            case ["fund", wallet, amount]:
                funding = (wallet, "EUR", int(amount), line, self._now_ms)
                await world.fund(store, *funding)
                world.model_fund(model, *funding)
            case ["issue", code, "for", phone, "until", until, *taken]:
                code_hash, until_ms = world.hash_of("code", code), MIDNIGHT_MS + int(until)
                issued = await world.add_code(store, code_hash, phone, until_ms, self._now_ms)
                assert issued == (taken != ["taken"]), line
                assert model.add_code(code_hash, world.text(phone), until_ms, self._now_ms) == issued
            case ["hold", amount, "of", wallet, "for", merchant, "until", until]:
                await self._hold(int(amount), wallet, merchant, MIDNIGHT_MS + int(until))
            case _:
                pytest.fail(f"nobody knows what this means: {line}")

    async def _hold(self, amount_minor: int, wallet: str, merchant: str, until_ms: int) -> None:
        leg = Leg(
            transfer_id=self._world.hash_of("hold", self._done)[:16],
            kind="pending",
            debit_account_id=self._world.account(wallet),
            credit_account_id=self._world.account(merchant),
            amount_minor=amount_minor,
            currency="EUR",
            expires_ms=until_ms,
        )
        group = Group((leg,))
        assert await self._world.book(self._store, group, self._now_ms) == ("booked",)
        assert self._world.model.ledger.book([group], self._now_ms)[0].legs == ("booked",)


def said(answer: Decision | TurnedAway) -> str:
    """Say an answer as a table writes it."""
    if isinstance(answer, TurnedAway):
        return f"! {answer.code}"
    return answer.decline_code or f"approved {answer.receipt_number}"


@pytest.mark.parametrize("lines", TABLES.values(), ids=TABLES)
async def test_payments_are_answered_as_their_table_says(database: Database, lines: list[str]) -> None:
    store = await database.open_store()
    try:
        await Cashier(store).play(lines)
    finally:
        await store.close()
    assert check_books(await database.read_books()) == []


def test_every_decline_stands_in_a_table() -> None:
    matches = [match for lines in TABLES.values() for line in lines if (match := ATTEMPT.fullmatch(line))]
    declines = {
        code for code, notice in NOTICES.items() if notice.kind is NoticeKind.DECLINE
    } - NOT_YET_IN_TABLES
    assert {match["decline"] for match in matches} - {None} == declines
    assert {match["problem"] for match in matches} - {None} == {
        "idempotency_conflict",
        "internal",
        "terminal_revoked",
        "terminal_unknown",
    }
