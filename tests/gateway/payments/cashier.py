"""Plays a table of payments line by line, on a store and on the auditor's model beside it.

What a line can be, `#` beginning a remark:

merchant NAME CURRENCY fee BASIS_POINTS | suspended
till NAME of MERCHANT
wallet NAME CURRENCY CENTS
phone|card NAME of WALLET limits PER_PAYMENT PER_DAY [weakest ENTRY_MODE]
tips at MERCHANT up to BASIS_POINTS · refunds at TILL up to CENTS · INSTRUMENT asks above CENTS
pin of WALLET [locked]
tier of WALLET asks above CENTS pin up to CENTS one CENTS day CENTS
at MS                                  set the time; it begins at a midnight of UTC
freeze|thaw WALLET · suspend|reactivate INSTRUMENT · withdraw TILL · fund WALLET CENTS
issue CODE for PHONE until MS [taken]  a numeric code; taken: another phone holds it
hold CENTS of WALLET for MERCHANT until MS
ATTEMPT TILL PAYER ENTRY_MODE PRESENTED [refused CODE] CENTS CURRENCY ORDER [(TERMS)]   ANSWER
    PRESENTED is `token COUNTER [forged] [nonce N]`, `tap COUNTER`, `code CODE` or `nothing`;
    `refused` is the verdict of verification;
    TERMS, with commas between: `held` for an hour, `tip CENTS` of what is held, `of CENTS` the whole order,
    `ask CODE` the holder within two minutes, `agreed` already, `many N` in ten minutes are too many
capture ATTEMPT CENTS [+ CENTS] [as ID] [at TILL]   ANSWER     goods + tip
void|reverse ATTEMPT [at TILL]                      ANSWER
confirm ATTEMPT by pin|device                       ANSWER
refuse ATTEMPT [because CODE]                       ANSWER
refund ATTEMPT to CENTS [as ID] [at TILL]           ANSWER
sweep                                  end everything whose time is over
ledger sweep                           the ledger lets go of holds whose day of grace is over
NAME has CENTS                         what a wallet may spend, or a merchant is owed
INSTRUMENT spent CENTS · ORDER at MERCHANT has CENTS of CENTS
    ANSWER is `approved RECEIPT`, `held`, `asked CODE`, a decline's or closing code, or `! CODE` of a problem
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from simulators.auditor.model.attempts import Attempt, CardTap, Code, Payment, Terms, Tier, Token, TurnedAway
from simulators.auditor.model.changes import (
    Capture,
    Change,
    Confirm,
    Expire,
    Refund,
    Refuse,
    Reverse,
    Void,
)
from simulators.auditor.model.ledger import Group, Leg
from simulators.auditor.model.payments import DAY_MS
from tests.gateway.payments.payment_world import World, add_card_keys

if TYPE_CHECKING:
    from tests.databases import Database

MIDNIGHT_MS = 20_000 * DAY_MS
HOLD_MS = 3_600_000
CONFIRM_MS = 120_000
ATTEMPT = re.compile(
    r"(?P<attempt>a\d+) (?P<till>\w+) (?P<payer>[\w-]+) (?P<mode>\w+)"
    r" (?:token (?P<counter>\d+)(?P<forged> forged)?(?: nonce (?P<nonce>\d+))?"
    r"|tap (?P<tap>\d+)|code (?P<code>\d+)|nothing)"
    r"(?: refused (?P<refused>\w+))? (?P<amount>\d+) (?P<currency>[A-Z]{3}) (?P<order>[\w-]+)"
    r"(?: \((?P<terms>[^)]*)\))? (?P<answer>approved \d+|held|asked \w+|! \w+|\w+)"
)
CHANGE = re.compile(
    r"(?P<what>capture|void|reverse|confirm|refuse|refund) (?P<attempt>a\d+)"
    r"(?: (?P<goods>\d+)(?: \+ (?P<tip>\d+))?)?(?: to (?P<total>\d+))?(?: by (?P<way>\w+))?"
    r"(?: because (?P<code>\w+))?(?: as (?P<id>\w+))?(?: at (?P<till>\w+))?"
    r" (?P<answer>approved \d+|held|asked \w+|! \w+|\w+)"
)


class Cashier:
    """One table's world, on both sides."""

    def __init__(self, database: Database, store: Any) -> None:
        self._database = database
        self._store = store
        self._world = World(1, MIDNIGHT_MS)
        self._now_ms = MIDNIGHT_MS
        self._done = 0
        self._attempts: dict[str, Attempt] = {}

    async def play(self, lines: list[str]) -> None:
        """Do what the lines say; fail where an answer is another."""
        await add_card_keys(self._store, self._now_ms)
        for line in lines:
            self._done += 1
            if (match := ATTEMPT.fullmatch(line)) is not None:
                await self._pay(match)
            elif (match := CHANGE.fullmatch(line)) is not None:
                await self._change(match)
            else:
                await self._do(line.split(), line)
        assert await self._world.differences(self._store, self._now_ms) == []
        stands = await self._world.standing_in(self._database, self._store, self._now_ms)
        assert stands == self._world.standing_of(self._world.model, self._now_ms)

    async def _pay(self, match: re.Match[str]) -> None:
        attempt = self._attempt(match)
        self._attempts[match["attempt"]] = attempt
        answer = await self._world.pay(self._store, attempt)
        assert said(answer) == match["answer"], match.string
        assert self._world.model.pay(attempt) == answer, match.string

    def _attempt(self, match: re.Match[str]) -> Attempt:
        world = self._world
        # The same line is the same request, whatever is answered.
        request = match.string[: match.start("answer")]
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
            terms=self._terms(match["terms"] or ""),
        )

    def _terms(self, text: str) -> Terms:
        said_so: dict[str, Any] = {
            "confirm_by_ms": self._now_ms + CONFIRM_MS,
            "capture_by_ms": self._now_ms + HOLD_MS,
        }
        for term in filter(None, text.split(", ")):
            match term.split():
                case ["held"]:
                    said_so["manual"] = True
                case ["tip", cents]:
                    said_so["tip_minor"] = int(cents)
                case ["of", cents]:
                    said_so["order_minor"] = int(cents)
                case ["ask", code]:
                    said_so["confirm_for"] = code
                case ["agreed"]:
                    said_so["confirmed"] = True
                case ["many", count]:
                    said_so["window_max"] = int(count)
                case _:
                    pytest.fail(f"nobody knows such terms: {text}")
        return Terms(**said_so)

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

    async def _change(self, match: re.Match[str]) -> None:
        attempt = self._attempts[match["attempt"]]
        decided = self._world.model.decided[attempt.terminal_id, attempt.attempt_id]
        change = self._change_of(match, decided, attempt)
        assert said(await self._apply(change)) == match["answer"], match.string

    def _change_of(self, match: re.Match[str], payment_id: str, attempt: Attempt) -> Change:
        till = self._world.text(match["till"]) if match["till"] else attempt.terminal_id
        request_id = self._world.ulid("request", match["id"] or (match["what"], payment_id))
        match match["what"]:
            case "capture":
                return Capture(payment_id, till, request_id, int(match["goods"]), int(match["tip"] or 0))
            case "refund":
                return Refund(payment_id, till, request_id, int(match["total"]))
            case "void":
                return Void(payment_id, till)
            case "reverse":
                return Reverse(payment_id, till)
            case "confirm":
                return Confirm(payment_id, match["way"], self._now_ms + HOLD_MS)
        return Refuse(payment_id, match["code"] or "confirmation_refused")

    async def _apply(self, change: Change) -> Payment | TurnedAway:
        answer = await self._world.change(self._store, change, self._now_ms)
        assert self._world.model_change(self._world.model, change, self._now_ms) == answer, change
        return answer

    async def _do(self, words: list[str], line: str) -> None:
        world, store = self._world, self._store
        match words:
            case ["merchant", name, currency, "suspended"]:
                await world.add_merchant(store, name, currency, fee_basis_points=0, active=False)
            case ["merchant", name, currency, "fee", fee]:
                await world.add_merchant(store, name, currency, fee_basis_points=int(fee))
            case ["till", name, "of", merchant]:
                await world.add_till(store, name, merchant)
            case ["wallet", name, currency, funds]:
                await world.add_wallet(store, name, currency, int(funds))
            case ["phone" | "card" as kind, name, "of", wallet, "limits", one, day, *weakest]:
                await world.add_instrument(
                    store,
                    name,
                    wallet,
                    limits=(int(one), int(day)),
                    weakest=weakest[-1] if weakest else "code_numeric",
                    is_card=kind == "card",
                )
            case ["tips" | "refunds" | "pin" | "tier", *_] | [_, "asks", "above", _]:
                await self._set_terms(words)
            case [_, "has" | "spent", _] | [_, "at", _, "has", _, "of", _]:
                await self._look(words, line)
            case _:
                await self._happen(words, line)

    async def _set_terms(self, words: list[str]) -> None:
        match words:
            case ["tips", "at", merchant, "up", "to", basis_points]:
                await self._world.set_tips(self._store, merchant, int(basis_points))
            case ["refunds", "at", till, "up", "to", cents]:
                await self._world.set_refunds(self._store, till, int(cents))
            case ["pin", "of", wallet, *locked]:
                await self._world.set_pin(self._store, wallet, has_pin=not locked)
            case [
                "tier",
                "of",
                wallet,
                "asks",
                "above",
                above,
                "pin",
                "up",
                "to",
                pin,
                "one",
                one,
                "day",
                day,
            ]:
                tier = Tier(int(above), int(pin), int(one), int(day))
                await self._world.set_tier(self._store, wallet, "EUR", "verified", tier)
            case [instrument, "asks", "above", cents]:
                await self._world.set_confirm_above(self._store, instrument, int(cents))

    async def _look(self, words: list[str], line: str) -> None:
        match words:
            case [name, "has", cents]:
                found = await self._store.find_account(self._world.account(name))
                assert found.available_minor == int(cents), line
            case [instrument, "spent", cents]:
                day = (self._world.text(instrument), self._now_ms // DAY_MS)
                assert self._world.model.spent.get(day, 0) == int(cents), line
            case [order, "at", merchant, "has", cents, "of", amount]:
                expected = (int(amount), int(cents))
                assert self._world.model.orders[self._world.text(merchant), order] == expected, line

    async def _happen(self, words: list[str], line: str) -> None:
        store, model = self._store, self._world.model
        match words:
            case ["at", time_ms]:
                self._now_ms = MIDNIGHT_MS + int(time_ms)
            case ["sweep"]:
                for payment_id in await store.list_due_payments(self._now_ms):
                    await self._apply(Expire(payment_id))
            case ["ledger", "sweep"]:
                assert await store.expire_pendings(self._now_ms) == model.ledger.expire(self._now_ms), line
            case _:
                await self._happen_to_payers(words, line)

    async def _happen_to_payers(self, words: list[str], line: str) -> None:
        world, store, model = self._world, self._store, self._world.model
        match words:
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


def said(answer: Payment | TurnedAway) -> str:
    """Say an answer as a table writes it."""
    if isinstance(answer, TurnedAway):
        return f"! {answer.code}"
    if answer.state == "succeeded":
        return f"approved {answer.receipt_number}"
    if answer.state == "requires_confirmation":
        return f"asked {answer.confirm_code}"
    return "held" if answer.state == "authorised" else answer.decline_code or answer.code or ""
