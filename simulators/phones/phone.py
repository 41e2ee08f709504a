"""A wallet on a phone: one key, codes to show to a camera, and an application to tap with.

The phone has no clock of its own: whoever holds it says what time it believes it is, so a clock that is
wrong is an argument. Numeric codes come from the gateway and are asked for in simulators/wallet_app.py.
"""

from __future__ import annotations

import random
from typing import Final

from simulators.cards.offline_allowance import OfflineAllowance
from simulators.cards.payment_card import PaymentCard
from simulators.cards.transaction_counter import TransactionCounter
from simulators.errors import SimulatorError
from wire import es256
from wire.codes import base32, base45
from wire.codes.consumer_qr import dump_consumer_qr
from wire.codes.luhn import check_luhn
from wire.codes.scanned import BASE32_PREFIX, BASE45_PREFIX
from wire.money import Money
from wire.tokens.bound_token import BoundTokenClaims, mint_bound_token
from wire.tokens.qr_token import QrTokenClaims, mint_qr_token

TOKEN_LIFE_S: Final = 60
"""How long a code is good for (protocol section 1.1)."""
TOKEN_ID_BYTES: Final = 8


class NoCodeShown(SimulatorError):
    """There is nothing on the screen to take a picture of."""

    code = "no_code_shown"


class Phone:
    """A phone that pays with one key, by code and by tap, under one rising counter."""

    def __init__(
        self, private_key: es256.PrivateKey, *, rng: random.Random, counter: int = 0, token_pan: str
    ) -> None:
        """Make a phone that shows nothing yet.

        Args:
            private_key: what it signs with.
            rng: seeded; token ids and what its application draws come from it.
            counter: the value last used.
            token_pan: digits with a Luhn digit that stand for the payer on other people's terminals;
                never the number of the account.

        Raises:
            PaymentCodeError: the token PAN's check digit is wrong.
        """
        self._private_key = private_key
        self._rng = rng
        self._counter = TransactionCounter(counter)
        self._token_pan = check_luhn(token_pan)
        self._shown: str | None = None
        self.allowance: OfflineAllowance | None = None
        """What it may spend offline, by tap; given to every application made after it was set."""

    @property
    def public_key(self) -> es256.PublicKey:
        """What its tokens are verified with."""
        return self._private_key.public_key()

    @property
    def key_id(self) -> bytes:
        """The key's id, as its tokens carry it."""
        return es256.key_id_of(self.public_key)

    @property
    def counter(self) -> int:
        """The counter value last signed under, by code or by tap."""
        return self._counter.value

    def hold_credential(self, credential: bytes) -> OfflineAllowance:
        """Take a credential the gateway issued; a new one begins with nothing spent.

        One that it holds already, because its answer was lost and it asked again, keeps its running total.

        Raises:
            TokenError: it is no credential.
            SimulatorError: it is about another key than this phone's.
        """
        allowance = OfflineAllowance(credential)
        if allowance.claims.device_key_id != self.key_id:
            raise SimulatorError("the credential is about another device")
        if self.allowance is None or self.allowance.claims.credential_id != allowance.claims.credential_id:
            self.allowance = allowance
        return self.allowance

    def mint_token(self, now_ms: int, cap: Money, life_s: int = TOKEN_LIFE_S) -> bytes:
        """Sign a token that pays up to the cap.

        Args:
            now_ms: unix milliseconds as this phone believes them.

        Raises:
            CounterExhausted: the key has signed as often as it can.
        """
        issued_s = now_ms // 1000
        claims = QrTokenClaims(
            token_id=self._rng.randbytes(TOKEN_ID_BYTES),
            issued_s=issued_s,
            expires_s=issued_s + life_s,
            cap=cap,
            counter=self._counter.rise(),
        )
        return mint_qr_token(claims, self._private_key)

    def pay_code(
        self,
        now_ms: int,
        cap: Money,
        form: str = "cpm",
        *,
        life_s: int = TOKEN_LIFE_S,
        forged: bool = False,
    ) -> str:
        """Return the text of a fresh code: what the QR on the screen says.

        Args:
            form: `cpm` (EMVCo's container), `base45` or `base32` (the bare token).
            forged: its signature does not hold, as that of a code which somebody made up.

        Raises:
            SimulatorError: there is no such form.
        """
        dump = {"cpm": self._as_cpm, "base45": _as_base45, "base32": _as_base32}.get(form)
        if dump is None:
            raise SimulatorError(f"there is no form named {form}")
        token = self.mint_token(now_ms, cap, life_s)
        self._shown = dump(_spoil(token) if forged else token)
        return self._shown

    def sign_bound(
        self, merchant_id: str, attempt_id: str, amount: Money, now_ms: int, *, life_s: int = TOKEN_LIFE_S
    ) -> bytes:
        """Sign that the holder pays this amount to this merchant, in this attempt.

        Args:
            now_ms: unix milliseconds as this phone believes them.

        Raises:
            CounterExhausted: the key has signed as often as it can.
        """
        issued_s = now_ms // 1000
        claims = BoundTokenClaims(
            token_id=self._rng.randbytes(TOKEN_ID_BYTES),
            issued_s=issued_s,
            expires_s=issued_s + life_s,
            merchant_id=merchant_id,
            attempt_id=attempt_id,
            amount=amount,
            counter=self._counter.rise(),
        )
        return mint_bound_token(claims, self._private_key)

    def screenshot(self) -> str:
        """Return the code last shown, word for word, however old it is.

        Raises:
            NoCodeShown: none was shown yet.
        """
        if self._shown is None:
            raise NoCodeShown("this phone has shown no code yet")
        return self._shown

    def payment_card(self) -> PaymentCard:
        """Return the phone's NFC application: the same key, the same rising counter, the same allowance."""
        rng = random.Random(self._rng.getrandbits(64))  # noqa: S311 - toy values, repeatable on purpose
        return PaymentCard(self._private_key, rng=rng, counter=self._counter, allowance=self.allowance)

    def _as_cpm(self, token: bytes) -> str:
        return dump_consumer_qr(token, self._token_pan)


def _spoil(token: bytes) -> bytes:
    # The signature's last bit: what it says stays well-formed, and is not what the key signed.
    return token[:-1] + bytes((token[-1] ^ 1,))


def _as_base45(token: bytes) -> str:
    return BASE45_PREFIX + base45.encode(token)


def _as_base32(token: bytes) -> str:
    return BASE32_PREFIX + base32.encode(token)
