"""A gateway in several real processes, an operator on the same database, and a till that signs by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import GatewayConfig, load_config
from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.office import open_office
from gateway.vault import KEY_BYTES, create_vault_key
from wire import es256
from wire.http_signatures import SignatureTag, sign_request
from wire.ids import make_ulid
from wire.messages.base import dump_message
from wire.messages.payments import PaymentRequest, QrConsumerPresentation
from wire.money import Money, find_currency
from wire.tokens.qr_token import QrTokenClaims, mint_qr_token

WAIT_S = 60
TILL_KEY = ec.derive_private_key(32, ec.SECP256R1())
PHONE_KEY = ec.derive_private_key(31, ec.SECP256R1())


@dataclass
class Gateway:
    """`tapscan-gateway serve` with workers, as an operator starts it."""

    toml: Path
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    ready: dict[str, Any]
    counter: int = 0

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run an operator's command, and return the record it prints."""
        result = subprocess.run(
            command(self.toml, *arguments), capture_output=True, timeout=WAIT_S, check=True
        )
        record: dict[str, Any] = json.loads(result.stdout)
        return record

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve now."""
        return [one for one in psutil.Process(self.process.pid).children() if one.is_running()]

    def events(self) -> list[dict[str, Any]]:
        """Return what was logged so far."""
        self.log.seek(0)
        return [json.loads(line) for line in self.log.read().splitlines() if line.startswith(b"{")]

    def until_logged(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for that many log lines of an event, and return them."""
        return wait_for(
            lambda: (
                found
                if len(found := [one for one in self.events() if one["event"] == event]) >= count
                else None
            )
        )

    def until(self, find: Callable[[], Any]) -> Any:
        """Ask until the answer is not None, and return it."""
        return wait_for(find)

    def stop(self) -> int:
        """Tell it to stop, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def open_shop(self) -> None:
        """Make a merchant with one till, and a phone with 1000 euros."""
        asyncio.run(_furnish(load_config(self.toml)))

    def until_all_have_looked(self) -> None:
        """Return once every worker has answered something that was sent after this call."""
        path = f"/nowhere-{os.urandom(4).hex()}"
        seen = len(self.events())

        def ask() -> bool | None:
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(self.url + path, timeout=WAIT_S)
            answered = {one["worker"] for one in self.events()[seen:] if one["event"] == "request"}
            return True if len(answered) == len(self.ready["workers"]) else None

        wait_for(ask)

    def request(self) -> PaymentRequest:
        """A payment of 1.00 with a fresh code of the phone."""
        self.counter += 1
        now_s = int(time.time())
        claims = QrTokenClaims(
            token_id=os.urandom(8),
            issued_s=now_s,
            expires_s=now_s + 60,
            cap=Money(5_000, find_currency("EUR")),
            counter=self.counter,
        )
        return PaymentRequest(
            attempt_id=self._draw_id(),
            order_id=f"order-{self.counter}",
            amount_minor=100,
            currency="EUR",
            presentation=QrConsumerPresentation(token=mint_qr_token(claims, PHONE_KEY)),
            presented_ms=now_s * 1000,
        )

    def pay(self, request: PaymentRequest) -> tuple[int, dict[str, Any]]:
        """Send a payment on a connection of its own."""
        return self.send("/v1/payments", dump_message(request), request.attempt_id)

    def sign(self, path: str, body: bytes, idempotency_key: str) -> dict[str, str]:
        return sign_request(
            method="POST",
            target_uri=self.ready["public_url"] + path,
            private_key=TILL_KEY,
            created_s=int(time.time()),
            nonce=os.urandom(16).hex(),
            tag=SignatureTag.TERMINAL,
            body=body,
            idempotency_key=idempotency_key,
        )

    def send(self, path: str, body: bytes, idempotency_key: str) -> tuple[int, dict[str, Any]]:
        headers = self.sign(path, body, idempotency_key)
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url + path, body, headers), timeout=WAIT_S
            ) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def _draw_id(self) -> str:
        return make_ulid(int(time.time() * 1000), os.urandom(10))


async def _furnish(config: GatewayConfig) -> None:
    now_ms = int(time.time() * 1000)
    async with open_office(config, {}, os.urandom) as office:
        merchants, holders = office.merchants, office.holders
        merchant = await merchants.add_merchant("Mill Lane Bakery", "EUR", 25, now_ms=now_ms)
        location = await merchants.add_location(merchant.merchant_id, "Mill Lane 12", now_ms=now_ms)
        pending = await merchants.add_terminal(merchant.merchant_id, location.location_id, now_ms=now_ms)
        await merchants.enrol_terminal(pending.enrolment_code, TILL_KEY.public_key(), "test", now_ms=now_ms)
        wallet = await holders.add_wallet("Ana Lima", "EUR", now_ms=now_ms)
        await holders.fund_wallet(wallet.wallet_id, Money(100_000, find_currency("EUR")), now_ms=now_ms)
        phone = es256.dump_public_key(PHONE_KEY.public_key())
        new = NewInstrument(wallet.wallet_id, InstrumentKind.PHONE_KEY, phone)
        await holders.add_instrument(new, now_ms=now_ms)


def command(toml: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *arguments, "--config", str(toml), "--json"]


def wait_for(find: Callable[[], Any]) -> Any:
    """Ask until the answer is not None."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = find()
        if found is not None:
            return found
        time.sleep(0.02)
    pytest.fail("it never happened")


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways with workers, and leaves no process behind."""
    gateways: list[Gateway] = []

    def start(database: str = "data/g.sqlite3", workers: int = 2, limits: str = "") -> Gateway:
        toml = tmp_path / "gateway.toml"
        toml.write_text(
            "[listen]\nport = 0\n"
            f'[storage]\ndatabase = "{database}"\nvault_key_file = "data/vault.key"\n'
            f"[processes]\nworkers = {workers}\n[limits]\n{limits}\n"
            # One phone pays for many here.
            '[risk]\npayments_per_window_max = 0\n[logging]\nformat = "json"\n'
        )
        vault_key = tmp_path / "data" / "vault.key"
        if "://" in database and not vault_key.exists():
            # A database that a test was given is up to date already, which a gateway finds odd without a key.
            create_vault_key(vault_key, os.urandom(KEY_BYTES))
        log = (tmp_path / f"log-{len(gateways)}").open("w+b")
        process = subprocess.Popen(command(toml, "serve"), stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        line = process.stdout.readline()
        gateways.append(Gateway(toml, process, log, json.loads(line or b"{}")))
        return gateways[-1]

    yield start
    for gateway in gateways:
        kin = []
        if gateway.process.poll() is None:
            kin = psutil.Process(gateway.process.pid).children()
            gateway.process.kill()
        gateway.process.communicate()
        gateway.log.close()
        assert psutil.wait_procs(kin, WAIT_S)[1] == [], "a worker outlived its main process"
