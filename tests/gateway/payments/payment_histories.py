"""What may happen to a small world of shops and payers, as hypothesis draws it.

The world is so small that actions meet: few wallets with little in them, few orders, tokens, nonces, codes
and cards, two days. Amounts are often exactly what is left of something, or one more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from simulators.auditor.model.attempts import WEAKNESS

TILLS = ("tea-1", "tea-2", "books-1", "closed-1", "diner-1")
PHONES = ("ada-phone", "ada-watch", "bob-phone", "eve-phone")
CARDS = ("bob-card", "ada-card")
WALLETS = {"ada": "EUR", "bob": "EUR", "eve": "USD"}
UNKNOWN_TILL = "nowhere"
AMOUNTS_LEFT = ("day", "day+1", "wallet", "wallet+1", "limit", "limit+1")
"""What is left of the instrument's day, or of its wallet; its limit for one payment; or one more."""


@dataclass(frozen=True)
class Pay:
    """An attempt in small numbers; None stands for one that nobody used yet."""

    till: str
    payer: str
    mode: str
    amount: int | str
    """Cents, or one of AMOUNTS_LEFT."""
    order: int | None = None
    counter: int | None = None
    forged: bool = False
    nonce: int | None = None
    code: int = 0
    currency: str = "EUR"
    refused: str | None = None
    later_ms: int = 0
    manual: bool = False
    tip: int = 0
    order_amount: int = 0
    confirmed: bool = False
    confirm_for: str | None = None
    window_max: int = 0
    due_ticks: int = 3
    """How many ticks its deadlines are away."""


@dataclass(frozen=True)
class Again:
    """An attempt that was sent before: the same, another request under its id, or another attempt that
    carries what it carried, a forgery of it, or its payment id."""

    back: int
    change: str
    later_ms: int


@dataclass(frozen=True)
class Change:
    """What an operator or a holder does: `freeze`, `thaw`, `suspend`, `reactivate`, `withdraw` a till,
    `fund`, `issue` a code (`brief`: until the next tick), `hold` money, or `void` and `post` a hold."""

    what: str
    name: str
    number: int = 0


@dataclass(frozen=True)
class Ask:
    """A change of a payment that was attempted before: `capture`, `void`, `reverse`, `confirm`, `refuse`,
    `expire` or `refund`."""

    what: str
    back: int
    """Of which payment: 0 is the newest that may be open, then the others."""
    amount: str = "whole"
    """Of a capture or a refund: `whole`, `half`, `more`, `tip`."""
    number: int = 0
    """Under which of a few ids; repeats meet."""
    way: str = "pin"
    till: str = ""
    """Another till than the payment's own."""
    later_ms: int = 0


@dataclass(frozen=True)
class GiveUp:
    """The reversal of an attempt that was never seen, which then arrives all the same."""

    pay: Pay
    late: bool
    """It arrives after the reversal, or before."""


Action = Pay | Again | Change | Ask


@dataclass(frozen=True)
class Crowd:
    """Actions at once; each goes through the first or the second open store."""

    actions: tuple[Action, ...]
    doors: tuple[int, ...]
    ticks: int = 0
    """After so many ticks."""


@dataclass(frozen=True)
class Wait:
    ticks: int


@dataclass(frozen=True)
class DayLater:
    """Nobody swept for a day: the ledger itself lets go of what is over."""


@dataclass(frozen=True)
class Reopen:
    pass


Step = Crowd | Wait | Reopen | GiveUp | DayLater

later = st.integers(0, 3)
few = st.sampled_from([None] * 6 + [0, 1, 2])
fine_amounts = st.sampled_from([1, 20, 30, 50, 99, 100, *AMOUNTS_LEFT[::2], *AMOUNTS_LEFT])
fine_tills = st.sampled_from([*TILLS[:3]] * 4 + ["closed-1"])
refusals = st.sampled_from([None] * 8 + ["amount_mismatch", "token_expired"])


@st.composite
def phone_payments(draw: st.DrawFn) -> Pay:
    return Pay(
        till=draw(fine_tills),
        payer=draw(st.sampled_from(PHONES[:3])),
        mode=draw(st.sampled_from(["nfc_app", "nfc_app", "qr_consumer"])),
        amount=draw(fine_amounts),
        order=draw(few),
        counter=draw(few),
        forged=draw(st.sampled_from([False] * 8 + [True])),
        nonce=draw(few),
        refused=draw(refusals),
        later_ms=draw(later),
    )


@st.composite
def card_payments(draw: st.DrawFn) -> Pay:
    return Pay(
        till=draw(fine_tills),
        payer=draw(st.sampled_from(CARDS)),
        mode="nfc_sdm",
        amount=draw(fine_amounts),
        order=draw(few),
        counter=draw(st.sampled_from([None, None, None, 1, 3, 6])),
        refused=draw(refusals),
        later_ms=draw(later),
    )


@st.composite
def code_payments(draw: st.DrawFn) -> Pay:
    return Pay(
        till=draw(fine_tills),
        payer=draw(st.sampled_from(PHONES[:2])),
        mode="code_numeric",
        amount=draw(fine_amounts),
        order=draw(few),
        code=draw(st.integers(0, 2)),
        later_ms=draw(later),
    )


@st.composite
def odd_payments(draw: st.DrawFn) -> Pay:
    """One thing of a good payment is anything at all."""
    good = draw(st.one_of(phone_payments(), card_payments(), code_payments()))
    changes: tuple[dict[str, Any], ...] = (
        {"till": draw(st.sampled_from([*TILLS, UNKNOWN_TILL]))},
        {"payer": draw(st.sampled_from([*PHONES, "nobody"]))},
        {"amount": draw(st.sampled_from([101, 151, 249, 250, 251, 10**12]))},
        {"mode": draw(st.sampled_from(WEAKNESS))},
        {"currency": "USD"},
        {"payer": "eve-phone", "till": "diner-1", "currency": "USD"},
    )
    return replace(good, **draw(st.sampled_from(changes)))


@st.composite
def termed_payments(draw: st.DrawFn) -> Pay:
    """A good payment on terms: held, with a tip, of a larger order, that its holder has to agree to."""
    good = draw(st.one_of(phone_payments(), phone_payments(), card_payments()))
    manual = draw(st.booleans())
    return replace(
        good,
        refused=None,
        forged=False,
        mode="qr_merchant" if good.mode == "qr_consumer" and draw(st.booleans()) else good.mode,
        manual=manual,
        tip=draw(st.sampled_from([0, 0, 1, 3, 10, 20])) if manual and good.amount != 1 else 0,
        order_amount=draw(st.sampled_from([0, 0, 100, 100, 101])),
        confirmed=draw(st.sampled_from([False, False, True])),
        confirm_for=draw(st.sampled_from([None, None, "confirm_new_terminal", "confirm_unusual_amount"])),
        window_max=draw(st.sampled_from([0, 0, 2, 3])),
        due_ticks=draw(st.integers(1, 4)),
    )


payments = st.one_of(
    phone_payments(), phone_payments(), card_payments(), code_payments(), termed_payments(), termed_payments()
)
agains = st.builds(
    Again,
    st.integers(0, 20),
    st.sampled_from(["", "", "digest", "use", "use", "forge", "forge", "order", "payment_id", "till"]),
    later,
)
asks = st.builds(
    Ask,
    st.sampled_from(
        [
            "capture",
            "capture",
            "void",
            "reverse",
            "confirm",
            "confirm",
            "refuse",
            "expire",
            "refund",
            "refund",
        ]
    ),
    st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5]),
    st.sampled_from(["whole", "half", "more", "tip"]),
    st.integers(0, 2),
    st.sampled_from(["pin", "pin", "device"]),
    st.sampled_from([""] * 8 + ["books-1", "tea-2", UNKNOWN_TILL]),
    later,
)
changes = st.one_of(
    st.builds(Change, st.sampled_from(["freeze", "thaw", "thaw", "fund"]), st.sampled_from(list(WALLETS))),
    st.builds(Change, st.sampled_from(["suspend", "reactivate", "reactivate"]), st.sampled_from(PHONES[:3])),
    st.builds(Change, st.sampled_from(["issue", "brief"]), st.sampled_from(PHONES[:2]), st.integers(0, 2)),
    st.builds(Change, st.just("hold"), st.sampled_from(["ada", "bob"]), st.integers(1, 6)),
    st.builds(Change, st.sampled_from(["void", "post"]), st.just(""), st.integers(0, 5)),
    st.builds(Change, st.sampled_from(["fund"] * 5 + ["withdraw"]), st.sampled_from(["eve", "bob"])),
)
actions = st.one_of([payments] * 6 + [odd_payments()] + [agains] * 2 + [changes] * 2 + [asks] * 5)
lone = st.tuples(actions, st.integers(0, 1)).map(lambda one: Crowd((one[0],), (one[1],)))


COPIED_KEY = (
    Pay("tea-1", "ada-watch", "nfc_app", 1, counter=8),
    Pay("tea-1", "ada-watch", "nfc_app", 1, counter=8, forged=True),
    Pay("tea-1", "ada-watch", "nfc_app", 1),
)
"""A payment, a copy of it that gives the key away, and one that comes too late for that."""


@st.composite
def crowds(draw: st.DrawFn) -> Crowd:
    """Actions at once, often made to meet at one thing."""
    found = draw(st.lists(actions, min_size=3, max_size=7))
    meeting: dict[str, Any] = draw(
        st.sampled_from(
            [
                {},
                {},
                {"order": 7},
                {"payer": "ada-phone", "mode": "nfc_app"},
                {"payer": "ada-phone", "mode": "nfc_app", "counter": 7},
                {"nonce": 7, "till": "tea-1"},
                {"payer": "bob-card", "mode": "nfc_sdm"},
                {"payer": "ada-phone", "mode": "code_numeric", "code": 0},
                {"till": "tea-1", "amount": 100},
            ]
        )
    )
    met = tuple(replace(one, **meeting) if isinstance(one, Pay) else one for one in found)
    if draw(st.sampled_from([False] * 5 + [True])):
        # Behind others, because the first of a crowd may be decided before the rest arrives.
        met = (*met[:2], *COPIED_KEY, *met[2:4])
    one_door = draw(st.booleans())
    doors = tuple(0 if one_door else draw(st.integers(0, 1)) for _ in met)
    return Crowd(met, doors)


@st.composite
def meetings(draw: st.DrawFn) -> Crowd:
    """Several changes of one payment at once."""
    back = draw(st.sampled_from([0, 0, 1, 2]))
    found = draw(st.lists(asks, min_size=2, max_size=5))
    met = tuple(replace(one, back=back) for one in found)
    return Crowd(met, tuple(draw(st.integers(0, 1)) for _ in met), draw(st.sampled_from([0, 0, 1, 2, 4])))


steps: st.SearchStrategy[Step] = st.one_of(
    crowds(),
    crowds(),
    meetings(),
    lone,
    lone,
    st.builds(lambda one, ticks: Crowd((one,), (0,), ticks), asks, st.sampled_from([0, 1, 3, 5])),
    st.builds(GiveUp, st.one_of(phone_payments(), termed_payments()), st.booleans()),
    st.integers(1, 3).map(Wait),
    st.sampled_from([Reopen(), DayLater()]),
)
histories = st.lists(steps, min_size=6, max_size=14)
