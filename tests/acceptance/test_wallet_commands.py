"""`tapscan-sim wallet` against a real gateway and a real till: what a developer can try without a phone."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from simulators.fields.udp_radio import UdpRadio
from simulators.phones.phone import Phone
from simulators.world.belongings import APPLET_CARD, PHONE_KEY, draw_key_of
from tests.acceptance.faults.shopfront import Shopfront, open_shopfront
from tests.acceptance.faults.till_process import until
from tests.acceptance.programs import path_of, run_program
from wire.messages.till import SaleState

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
SEED = 2026
WAIT_S = 60
TILL_SETTINGS = """
[codes]
enabled = true
"""


async def wallet(shopfront: Shopfront, *arguments: str) -> tuple[int, str]:
    """Run a command of the wallet, and return its status and what it printed."""
    return await run_program(
        "tapscan-sim", "wallet", *arguments, "--gateway", shopfront.line.url, wait_s=WAIT_S
    )


async def until_state(shopfront: Shopfront, sale_id: str, state: SaleState) -> None:
    """Return once the sale stands there."""
    await until(lambda: shopfront.till.find_sale(sale_id), lambda sale: sale.state is state)


async def test_developer_pays_codes_and_stickers_and_confirms_without_a_phone(tmp_path: Path) -> None:
    radio = UdpRadio()
    radio.start()
    try:
        async with open_shopfront(
            tmp_path,
            SEED,
            [radio.reader_path],
            till_settings=TILL_SETTINGS,
            phone_key=draw_key_of(SEED, PHONE_KEY, "phone"),
        ) as shopfront:
            await _pay_the_tills_code(shopfront)
            await _pay_the_sticker(shopfront)
            await _confirm_a_tap(shopfront, radio)
            assert await shopfront.findings() == []
            assert await shopfront.balance_minor() == 100_000 - 1_250 - 700 - 2_000
    finally:
        radio.stop()


async def test_card_gets_its_allowance_from_the_gateway_before_it_is_tapped(tmp_path: Path) -> None:
    key = draw_key_of(SEED, APPLET_CARD, "card")
    settings = "[offline]\nenabled = true\n"
    async with open_shopfront(tmp_path, SEED, [], gateway_settings=settings, phone_key=key) as shopfront:
        process = await asyncio.create_subprocess_exec(
            *(path_of("tapscan-sim"), "card", "--allowance", "20", "--gateway", shopfront.line.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(WAIT_S):
                lines = [(await process.stdout.readline()).decode() for _ in range(2)]
        finally:
            process.kill()
            await process.wait()
        assert lines[0] == "set aside: 20 EUR\n"
        assert lines[1].startswith("reader path for terminal.toml: contactless:udp:")
        assert await shopfront.balance_minor() == 100_000 - 2_000
        assert await shopfront.findings() == []


async def _pay_the_tills_code(shopfront: Shopfront) -> None:
    sale = await shopfront.till.start_sale(1_250, "code")
    shown = await until(
        lambda: shopfront.till.find_sale(sale.sale_id), lambda sale: sale.code_text is not None
    )
    code = str(shown.code_text)
    status, out = await wallet(shopfront, "scan", code, "--yes")
    assert (status, "Pay 12.50 EUR to Fault Lane Bakery, No 12? yes" in out) == (0, True), out
    assert "succeeded" in out
    await until_state(shopfront, sale.sale_id, SaleState.APPROVED)
    # The same code once more: it is paid, and its counter used.
    status, out = await wallet(shopfront, "scan", code, "--yes", "--counter", "1")
    assert status != 0
    assert "Traceback" not in out


async def _pay_the_sticker(shopfront: Shopfront) -> None:
    text = await shopfront.sticker_text()
    status, out = await wallet(shopfront, "scan", text, "--yes", "--counter", "10")
    assert (status, "say it with --amount" in out) == (1, True), out
    status, out = await wallet(shopfront, "scan", text, "--yes", "--amount", "7", "--counter", "10")
    assert (status, "Pay 7.00 EUR to Fault Lane Bakery" in out) == (0, True), out


async def _confirm_a_tap(shopfront: Shopfront, radio: UdpRadio) -> None:
    assert (await wallet(shopfront, "confirm", "--yes"))[1] == "nothing waits\n"
    await shopfront.ask_above(1_500)
    sale = await shopfront.till.start_sale(2_000, "confirmed")
    # The phone that the commands counted on with.
    phone = Phone(shopfront.phone_key, rng=shopfront.rng, counter=20, token_pan="4111111111111111")
    radio.present(phone.payment_card())
    await until_state(shopfront, sale.sale_id, SaleState.CONFIRMING)
    radio.remove()
    status, out = await wallet(shopfront, "confirm", "--yes")
    assert (status, "20.00 EUR at Fault Lane Bakery, No 12 (confirm_above_limit): pay it? yes" in out) == (
        0,
        True,
    ), out
    await until_state(shopfront, sale.sale_id, SaleState.APPROVED)
