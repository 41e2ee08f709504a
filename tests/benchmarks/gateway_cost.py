"""What a payment costs the gateway in processor time, line by line, and how quickly its processes start.

Each line is the median of batches of the very function the gateway calls, in processor time of this
process, so that waiting for the disk does not count. The last line is what a whole gateway process used
per payment, user and system time together, under requests sent one after another over one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import load_config
from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.merchants.model import EnrolledTerminal
from gateway.office import Office, open_office, prepare_storage
from gateway.payments.service import PaymentService
from gateway.payments.verify import Verifier
from wire import es256
from wire.cards.payment_terms import PaymentTerms
from wire.http_signatures import (
    SignatureTag,
    parse_signed_request,
    sign_request,
    sign_session_request,
    verify_session_request,
    verify_signed_request,
)
from wire.ids import make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import NfcAppPresentation, PaymentAnswer, PaymentRequest
from wire.money import Money, find_currency
from wire.request_sessions import SESSION_ID_BYTES_MIN, SESSION_KEY_BYTES, RequestSession
from wire.tokens.nfc_token import mint_nfc_token, verify_nfc_token
from wire.tokens.sign1 import parse_sign1

EURO = find_currency("EUR")
BATCHES = 20
PAYMENTS_PER_BATCH = 50
WARM_UP_PAYMENTS = 100
FUNDS = Money(100_000_000, EURO)


@dataclass(frozen=True, slots=True)
class GatewayCost:
    """Microseconds of processor time by line, and the whole process's per payment."""

    lines_us: dict[str, float]
    process_us_per_payment: float
    sequential_payments_per_s: float


class _Till:
    """A terminal and a phone that taps it, both signing by hand."""

    def __init__(
        self, enrolled: EnrolledTerminal, key: es256.PrivateKey, phone_key: es256.PrivateKey
    ) -> None:
        self.enrolled = enrolled
        self.key = key
        self.phone_key = phone_key
        self._rng = random.Random(1)
        self._counter = 0

    def request(self) -> PaymentRequest:
        """Return a payment of one cent, tapped now."""
        self._counter += 1
        now_ms = time.time_ns() // 1_000_000
        terms = PaymentTerms(
            amount=Money(1, EURO),
            nonce=self._rng.randbytes(8),
            merchant_id=self.enrolled.merchant.merchant_id,
            terminal_id=self.enrolled.terminal.terminal_id,
            at_s=now_ms // 1000,
        )
        token = mint_nfc_token(terms.encode(), self._counter, self._rng.randbytes(4), self.phone_key)
        return PaymentRequest(
            attempt_id=make_ulid(now_ms, self._rng.randbytes(10)),
            order_id=f"order-{self._counter}",
            amount_minor=1,
            currency="EUR",
            presentation=NfcAppPresentation(token=token),
            presented_ms=now_ms,
            card_exchange_ms=40,
        )

    def sign(self, request: PaymentRequest, url: str) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of a payment."""
        body = dump_message(request)
        headers = sign_request(
            method="POST",
            target_uri=f"{url}/v1/payments",
            private_key=self.key,
            created_s=time.time_ns() // 1_000_000_000,
            nonce=self._rng.randbytes(16).hex(),
            tag=SignatureTag.TERMINAL,
            body=body,
            idempotency_key=request.attempt_id,
        )
        return body, headers

    def sign_in_session(self, request: PaymentRequest, url: str, session: RequestSession) -> dict[str, str]:
        """Return the headers of the same payment under a session."""
        return sign_session_request(
            method="POST",
            target_uri=f"{url}/v1/payments",
            session=session,
            created_s=time.time_ns() // 1_000_000_000,
            nonce=self._rng.randbytes(16).hex(),
            body=dump_message(request),
            idempotency_key=request.attempt_id,
        )


async def measure_gateway_cost(folder: Path) -> GatewayCost:
    """Measure on a fresh database in `folder`."""
    config_path = folder / "gateway.toml"
    config_path.write_text(
        '[listen]\nhost = "127.0.0.1"\nport = 0\n[storage]\ndatabase = "bench.sqlite3"\n'
        'vault_key_file = "vault.key"\n[risk]\npayments_per_window_max = 0\n[logging]\nformat = "json"\n'
    )
    config = load_config(config_path)
    prepare_storage(config, {}, entropy=secrets.token_bytes)
    async with open_office(config, {}, secrets.token_bytes) as office:
        till = await _open_shop(office)
        lines = await _measure_lines(office, till)
    async with _running_gateway(config_path) as (process, url):
        process_us, per_s = await _measure_process(process, url, till)
    return GatewayCost(lines, process_us, per_s)


def measure_cold_start_s(folder: Path) -> float:
    """Return the seconds from starting `tapscan-gateway serve` to its answering that it is ready."""
    started = time.monotonic()
    process, _ = _start_gateway(folder / "gateway.toml")
    taken_s = time.monotonic() - started
    _stop_gateway(process)
    return taken_s


async def _open_shop(office: Office) -> _Till:
    now_ms = time.time_ns() // 1_000_000
    key, phone_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    merchant = await office.merchants.add_merchant("Bench", "EUR", 25, now_ms=now_ms)
    location = await office.merchants.add_location(merchant.merchant_id, "Bench", now_ms=now_ms)
    pending = await office.merchants.add_terminal(merchant.merchant_id, location.location_id, now_ms=now_ms)
    enrolled = await office.merchants.enrol_terminal(
        pending.enrolment_code, key.public_key(), "bench", now_ms=now_ms
    )
    wallet = await office.holders.add_wallet("Bench", "EUR", now_ms=now_ms)
    await office.holders.fund_wallet(wallet.wallet_id, FUNDS, now_ms=now_ms)
    phone = NewInstrument(
        wallet.wallet_id,
        InstrumentKind.PHONE_KEY,
        es256.dump_public_key(phone_key.public_key()),
        per_payment_minor=FUNDS.minor,
        per_day_minor=FUNDS.minor,
    )
    await office.holders.add_instrument(phone, now_ms=now_ms)
    return _Till(enrolled, key, phone_key)


async def _measure_lines(office: Office, till: _Till) -> dict[str, float]:
    url = "http://127.0.0.1:8080"
    request = till.request()
    body, headers = till.sign(request, url)
    fields = list(headers.items())
    till_key = till.key.public_key()
    token = parse_sign1(request.presentation.token)
    phone_key = till.phone_key.public_key()

    def parse_signature() -> object:
        return parse_signed_request(
            method="POST",
            target_uri=f"{url}/v1/payments",
            headers=fields,
            body=body,
            tags={SignatureTag.TERMINAL},
        )

    signed = parse_signature()
    session = RequestSession(bytes(SESSION_ID_BYTES_MIN), bytes(SESSION_KEY_BYTES))
    in_session = parse_signed_request(
        method="POST",
        target_uri=f"{url}/v1/payments",
        headers=till.sign_in_session(request, url, session).items(),
        body=body,
        tags={SignatureTag.SESSION},
    )
    payments = PaymentService(office.store, office.vault)
    verifier = Verifier(office.store, office.vault)
    answer: PaymentAnswer = await _pay(payments, till, request)
    return {
        "parse the signature headers, digest the body": _median_us(parse_signature),
        "verify the request's ES256 signature": _median_us(
            lambda: verify_signed_request(signed, till_key, now_ms=signed.created_s * 1000)
        ),
        "verify it under a session instead": _median_us(
            lambda: verify_session_request(in_session, session.key, now_ms=in_session.created_s * 1000)
        ),
        "parse the payment's JSON": _median_us(lambda: parse_message(body, PaymentRequest)),
        "parse the token's envelope": _median_us(lambda: parse_sign1(request.presentation.token)),
        "verify the token's ES256 signature and terms": _median_us(
            lambda: verify_nfc_token(token, phone_key)
        ),
        "digest the request for idempotency": _median_us(
            lambda: hashlib.sha256(dump_message(request)).digest()
        ),
        "verdict as a whole (token, key cache, terms against the request)": await _median_us_async(
            lambda each: verifier.verify(each, till.enrolled, now_ms=each.presented_ms), till
        ),
        "verdict, booking and answer (SQLite, one payment a commit)": await _median_us_async(
            lambda each: _pay(payments, till, each), till
        ),
        "write the answer's JSON": _median_us(lambda: dump_message(answer)),
    }


async def _pay(payments: PaymentService, till: _Till, request: PaymentRequest) -> PaymentAnswer:
    payment_id = make_ulid(request.presented_ms, secrets.token_bytes(10))
    return await payments.pay(request, till.enrolled, payment_id=payment_id, now_ms=request.presented_ms)


async def _measure_process(process: psutil.Process, url: str, till: _Till) -> tuple[float, float]:
    async with aiohttp.ClientSession() as http:

        async def send() -> None:
            body, headers = till.sign(till.request(), url)
            async with http.post(f"{url}/v1/payments", data=body, headers=headers) as response:
                answer = parse_message(await response.read(), PaymentAnswer)
                assert answer.outcome == "approved", answer

        for _ in range(WARM_UP_PAYMENTS):
            await send()
        count = BATCHES * PAYMENTS_PER_BATCH
        before_s, started_s = sum(process.cpu_times()[:2]), time.monotonic()
        for _ in range(count):
            await send()
        taken_s = time.monotonic() - started_s
        return 1e6 * (sum(process.cpu_times()[:2]) - before_s) / count, count / taken_s


@contextlib.asynccontextmanager
async def _running_gateway(config_path: Path) -> AsyncIterator[tuple[psutil.Process, str]]:
    process, url = await asyncio.to_thread(_start_gateway, config_path)
    try:
        yield psutil.Process(process.pid), url
    finally:
        await asyncio.to_thread(_stop_gateway, process)


def _start_gateway(config_path: Path) -> tuple[subprocess.Popen[str], str]:
    program = Path(sys.executable).parent / "tapscan-gateway"
    process = subprocess.Popen(
        [program, "serve", "--config", config_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "ready at" in line:
            return process, line.split()[-1]
    raise RuntimeError("the gateway did not start")


def _stop_gateway(process: subprocess.Popen[str]) -> None:
    # Leaving waits for it, and closes its pipe.
    with process:
        process.terminate()


def _median_us(work: Callable[[], object]) -> float:
    samples = []
    for _ in range(BATCHES):
        before = time.process_time_ns()
        for _ in range(PAYMENTS_PER_BATCH):
            work()
        samples.append((time.process_time_ns() - before) / PAYMENTS_PER_BATCH / 1000)
    return statistics.median(samples)


async def _median_us_async(work: Callable[[PaymentRequest], Awaitable[object]], till: _Till) -> float:
    samples = []
    for _ in range(BATCHES):
        requests = [till.request() for _ in range(PAYMENTS_PER_BATCH)]
        before = time.process_time_ns()
        for request in requests:
            await work(request)
        samples.append((time.process_time_ns() - before) / PAYMENTS_PER_BATCH / 1000)
    return statistics.median(samples)
