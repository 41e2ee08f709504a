"""The selling side: merchants, their locations, and how a terminal comes to be trusted.

Enrolment: the gateway prints a one-time code, a person types it into the terminal, the terminal makes its
own key and sends the public one with the code. The code is stored only as a keyed hash, works once, and
for fifteen minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.entropy import Entropy, draw_ulid
from gateway.errors import EnrolmentRefused
from gateway.merchants.model import (
    EnrolledTerminal,
    Location,
    Merchant,
    MerchantStatus,
    Terminal,
    TerminalStatus,
)
from gateway.names import check_name
from gateway.one_time_codes import draw_code, dump_code, parse_code
from gateway.storage.store import MerchantStore
from gateway.vault import Vault
from wire import es256
from wire.errors import WireError
from wire.ids import (
    MERCHANT_ID_CHARS,
    TERMINAL_ID_CHARS,
    check_merchant_id,
    check_terminal_id,
    check_ulid,
    make_merchant_id,
    make_terminal_id,
    ulid_to_bytes,
)
from wire.money import find_currency

ENROLMENT_CODE_LIFE_MS: Final = 15 * 60_000
FEE_BASIS_POINTS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class PendingTerminal:
    """A terminal that waits for its code; the code exists nowhere else, so show it now."""

    terminal: Terminal
    enrolment_code: str
    """Written as XXXX-XXXX-XXXX."""
    code_expires_ms: int


class MerchantService:
    """What an operator does for merchants, and what a new terminal asks once."""

    __slots__ = ("_entropy", "_store", "_vault")

    def __init__(self, store: MerchantStore, vault: Vault, entropy: Entropy) -> None:
        self._store = store
        self._vault = vault
        self._entropy = entropy

    async def add_merchant(self, name: str, currency: str, fee_basis_points: int, *, now_ms: int) -> Merchant:
        """Store a new merchant with its ledger account, and return it.

        Raises:
            WireError: the name or the fee; MoneyError: no such currency.
        """
        if not 0 <= fee_basis_points <= FEE_BASIS_POINTS_MAX:
            raise WireError(f"a fee is 0 to {FEE_BASIS_POINTS_MAX} basis points")
        merchant = Merchant(
            merchant_id=make_merchant_id(self._entropy(MERCHANT_ID_CHARS)),
            name=check_name(name, "a merchant's name"),
            currency=find_currency(currency).code,
            fee_basis_points=fee_basis_points,
            account_id=ulid_to_bytes(draw_ulid(self._entropy, now_ms)),
            status=MerchantStatus.ACTIVE,
            created_ms=now_ms,
        )
        await self._store.add_merchant(merchant)
        return merchant

    async def add_location(self, merchant_id: str, name: str, *, now_ms: int) -> Location:
        """Store a new location of a merchant, and return it; NotFound without the merchant."""
        location = Location(
            location_id=draw_ulid(self._entropy, now_ms),
            merchant_id=check_merchant_id(merchant_id),
            name=check_name(name, "a location's name"),
        )
        await self._store.add_location(location)
        return location

    async def add_terminal(self, merchant_id: str, location_id: str, *, now_ms: int) -> PendingTerminal:
        """Store a pending terminal and return its one-time code; NotFound without merchant or location."""
        code = draw_code(self._entropy)
        terminal = Terminal(
            terminal_id=make_terminal_id(self._entropy(TERMINAL_ID_CHARS)),
            merchant_id=check_merchant_id(merchant_id),
            location_id=check_ulid(location_id),
            status=TerminalStatus.PENDING,
            key_id=None,
            public_key=None,
            software="",
            created_ms=now_ms,
            enrolled_ms=None,
        )
        expires_ms = now_ms + ENROLMENT_CODE_LIFE_MS
        await self._store.add_terminal(terminal, self._vault.hash_code(code), expires_ms)
        return PendingTerminal(terminal, dump_code(code), expires_ms)

    async def enrol_terminal(
        self, code: str, public_key: es256.PublicKey, software: str, *, now_ms: int
    ) -> EnrolledTerminal:
        """Trade a code for trust in this key; the caller has proof that the terminal holds it.

        The same code with the same key answers again, since the first answer may have been lost.

        Raises:
            EnrolmentRefused: unknown, used with another key, or expired code; or a key that is taken.
        """
        parsed = parse_code(code)
        if parsed is None:
            raise EnrolmentRefused("that is no enrolment code")
        return await self._store.enrol_terminal(
            self._vault.hash_code(parsed),
            es256.key_id_of(public_key),
            es256.dump_public_key(public_key),
            software,
            now_ms,
        )

    async def revoke_terminal(self, terminal_id: str) -> None:
        """Withdraw a terminal for good, from the next request on; NotFound if there is none. Repeatable."""
        await self._store.revoke_terminal(check_terminal_id(terminal_id))
