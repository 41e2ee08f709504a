"""The commands as a shopkeeper runs them: real processes, exit codes, one sentence per error."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from terminal.config import OfflineSettings, TerminalConfig
from tests.terminal.conftest import (
    IMPATIENT,
    GatewayStandIn,
    Till,
    hold,
    lose_answer,
    make_presentation,
    reset_unread,
)
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import ConfirmationWay, PaymentRequest
from wire.messages.till import SaleEventKind
from wire.messages.till_page import PageEntry

PROGRAM = str(Path(sys.executable).parent / "tapscan-terminal")
TIMEOUT_S = 60.0
"""A command takes a second of a processor to begin, of which a loaded machine has few."""
GROUPS = {"offline", "payments", "shift"}
StartTill = Callable[..., Awaitable[Till]]
Run = Callable[..., Awaitable[Process]]


@pytest.fixture
def config_path(tmp_path: Path, make_config: Callable[..., TerminalConfig]) -> Path:
    """A configuration file for the data folder of `start_till`."""
    path = tmp_path / "terminal.toml"
    path.write_text(f'data_folder = "{make_config().data_folder}"\n[till_api]\nport = 0\n', encoding="utf-8")
    return path


@pytest.fixture
async def run_command(config_path: Path) -> AsyncIterator[Run]:
    """Start commands with that configuration; whatever still runs at the end of the test is killed."""
    started: list[Process] = []

    async def run(command: str, *arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *[command, *arguments[:1]] if command in GROUPS else [command],
            "--config",
            str(config_path),
            *arguments[1:] if command in GROUPS else arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=os.environ | {"COLUMNS": "160", "FORCE_COLOR": "1"},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def finish(process: Process) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error."""
    async with asyncio.timeout(TIMEOUT_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_approved_sale_exits_zero_in_green_with_a_receipt(
    start_till: StartTill, run_command: Run
) -> None:
    till = await start_till()
    process = await run_command("sale", "12.50")
    await till.wait_for(SaleEventKind.ARMED)
    till.readers.present(make_presentation())
    code, out, err = await finish(process)
    assert (code, err) == (0, "")
    assert "present a card" in out
    assert "APPROVED  12.50 EUR" in out
    assert "\x1b[1;37;42m" in out
    assert "Corner Shop" in out


async def test_declined_sale_exits_non_zero_in_red_with_the_reason(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.decline_codes.append("order_already_paid")
    process = await run_command("sale", "12.50", "--order", "table-7")
    event = await till.wait_for(SaleEventKind.ARMED)
    assert event.sale.order_id == "table-7"
    till.readers.present(make_presentation())
    code, out, _ = await finish(process)
    assert code == 1
    assert "DECLINED  12.50 EUR" in out
    assert "already paid" in out
    assert "\x1b[1;37;41m" in out


async def test_unknown_outcome_has_an_exit_code_of_its_own(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT)
    gateway.faults.extend([lose_answer] * 1_000)
    gateway.find_faults.extend([reset_unread] * 10_000)
    process = await run_command("sale", "12.50")
    await till.wait_for(SaleEventKind.ARMED)
    till.readers.present(make_presentation())
    code, out, _ = await finish(process)
    assert code == 3
    assert "Do not take the money again" in out


async def test_interrupt_cancels_the_sale(start_till: StartTill, run_command: Run) -> None:
    till = await start_till()
    process = await run_command("sale", "12.50")
    await till.wait_for(SaleEventKind.ARMED)
    assert process.stdout is not None
    # The prompt is shown once Ctrl-C cancels instead of ending the command.
    shown = await process.stdout.readline()
    assert b"present a card" in shown
    process.send_signal(signal.SIGINT)
    await till.wait_for(SaleEventKind.CANCELLED)
    code, out, _ = await finish(process)
    assert code == 1
    assert "CANCELLED" in out


async def test_interrupt_while_submitting_says_why_it_goes_on(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.faults.extend([hold] * 100)
    process = await run_command("sale", "12.50")
    await till.wait_for(SaleEventKind.ARMED)
    till.readers.present(make_presentation())
    await gateway.held.wait()
    assert process.stdout is not None
    while b"Asking" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    while b"already on its way" not in (line := await process.stdout.readline()):
        assert line
    gateway.release.set()
    code, out, _ = await finish(process)
    assert (code, "APPROVED" in out) == (0, True)


@pytest.mark.parametrize("amount", ["12.505", "-1", "1e3", "twelve", "0"])
async def test_amount_that_is_none_is_one_sentence(
    start_till: StartTill, run_command: Run, amount: str
) -> None:
    await start_till()
    code, _, err = await finish(await run_command("sale", "--", amount))
    assert code == 1
    assert err.startswith("tapscan-terminal: ")
    assert err.count("\n") == 1


async def test_page_prints_a_link_that_lets_one_browser_in(start_till: StartTill, run_command: Run) -> None:
    till = await start_till()
    code, out, err = await finish(await run_command("page", "--customer"))
    assert (code, err) == (0, "")
    line, until = out.splitlines()
    assert line.startswith(f"page {till.url}/enter#")
    assert until.startswith("good once, until ")
    entry = dump_message(PageEntry(link=line.partition("#")[2]))
    for status in (201, 403):
        async with till.session.post("/v1/page-sessions", data=entry) as response:
            assert response.status == status


async def test_readers_and_journal_are_tables_without_anything_spendable(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT)
    gateway.decline_codes.extend([None])
    await till.start_sale(order_id="order-paid")
    till.readers.present(make_presentation(1))
    await till.wait_for(SaleEventKind.APPROVED)
    gateway.faults.extend([lose_answer] * 1_000)
    gateway.find_faults.extend([reset_unread] * 10_000)
    await till.start_sale(order_id="order-open")
    till.readers.present(make_presentation(2))
    await till.wait_for(SaleEventKind.UNKNOWN)
    code, out, _ = await finish(await run_command("readers"))
    assert (code, "contactless:hand" in out, "ready" in out) == (0, True, True)
    code, out, _ = await finish(await run_command("journal"))
    assert code == 0
    assert out.index("order-open") < out.index("order-paid")
    assert "unresolved" in out
    assert "SECRET" not in out
    assert "U0VDUkVU" not in out


async def test_unknown_outcome_is_taken_back_or_kept_on_the_command_line(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT)
    gateway.faults.extend([lose_answer] * 1_000)
    gateway.find_faults.extend([reset_unread] * 100_000)
    gateway.reversal_faults.extend([reset_unread] * 100_000)
    process = await run_command("sale", "12.50")
    await till.wait_for(SaleEventKind.ARMED)
    till.readers.present(make_presentation())
    attempt_id = (await till.wait_for(SaleEventKind.UNKNOWN)).sale.attempt_id
    code, out, _ = await finish(process)
    assert (code, f"journal reverse {attempt_id}" in out) == (3, True)
    assert attempt_id is not None
    code, out, _ = await finish(await run_command("journal", "keep", attempt_id))
    assert (code, "is kept" in out) == (0, True)
    code, out, _ = await finish(await run_command("journal", "list"))
    assert (code, "unresolved (kept)" in out) == (0, True)
    code, out, _ = await finish(await run_command("journal", "reverse", attempt_id))
    assert (code, "is being taken back" in out) == (0, True)
    code, _, err = await finish(await run_command("journal", "keep", attempt_id))
    assert (code, "taken back already" in err) == (1, True)


async def test_customer_confirms_by_pin_on_the_command_line(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.confirms.append((ConfirmationWay.PIN, ConfirmationWay.DEVICE))
    process = await run_command("sale", "12.50")
    await till.wait_for(SaleEventKind.ARMED)
    till.readers.present(make_presentation())
    sale_id = (await till.wait_for(SaleEventKind.CONFIRMING)).sale.sale_id
    for pin, shown in (("1111", "The PIN is wrong"), (gateway.pin, "approved")):
        entering = await run_command("pin", sale_id)
        out, err = await entering.communicate(f"{pin}\n".encode())
        assert shown in (out + err).decode()
        assert pin.encode() not in out + err
    code, out, _ = await finish(process)
    assert code == 0
    assert "Above the limit without confirmation" in out
    assert f"tapscan-terminal pin {sale_id}" in out
    assert "APPROVED" in out


async def test_offline_payments_are_shown_and_handed_in_on_the_command_line(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    await start_till(offline=OfflineSettings(enabled=True))
    code, out, _ = await finish(await run_command("offline", "status"))
    assert (code, "online since" in out, "needs" in out or "must be online" in out) == (0, True, True)
    code, out, _ = await finish(await run_command("offline", "drain"))
    assert (code, out) == (0, "handed in 0, still waiting 0, of these unreadable to the gateway 0\n")


async def test_hold_is_captured_and_refunded_on_the_command_line(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    process = await run_command(
        "sale", "15.00", "--hold", "--tip-max", "2.50", "--order", "table-7", "--order-total", "30"
    )
    await till.wait_for(SaleEventKind.ARMED)
    till.readers.present(make_presentation())
    answer = (await till.wait_for(SaleEventKind.APPROVED)).sale.answer
    assert answer is not None
    code, out, _ = await finish(process)
    assert (code, "HELD" in out) == (0, True)
    order = parse_message(gateway.payments[0].body, PaymentRequest).order
    assert order is not None
    assert order.amount_minor == 3_000
    captured = await run_command("payments", "capture", answer.payment_id, "12.50", "--tip", "2")
    code, out, err = await finish(captured)
    assert (code, out, err.startswith("order id ")) == (0, "succeeded\n", True)
    staff = ("--staff", "01ARYZ6S410000000000000000")
    process = await run_command("payments", "refund", answer.payment_id, "5.00", *staff)
    out_bytes, _ = await process.communicate(b"918273\n")
    assert b"refunded 500 of 1450" in out_bytes
    code, out, _ = await finish(await run_command("payments", "list"))
    assert code == 0
    for fact in ("table-7", "15.00 EUR", "succeeded", "14.50", "5.00", answer.payment_id):
        assert fact in out


async def test_command_without_a_daemon_says_so(run_command: Run, tmp_path: Path) -> None:
    for command in (("sale", "12.50"), ("readers",)):
        code, out, err = await finish(await run_command(*command))
        assert (code, out) == (1, "")
        assert err == "tapscan-terminal: the daemon is not running: start `tapscan-terminal run`\n"


async def test_enrol_run_and_stop(run_command: Run, gateway: GatewayStandIn) -> None:
    code, _, err = await finish(await run_command("run"))
    assert (code, "enrol" in err, err.count("\n")) == (1, True, 1)
    code, out, _ = await finish(await run_command("enrol", "--gateway", gateway.url, "--code", "ABCD-1234"))
    assert (code, out) == (0, "enrolled as TERM0001: Corner Shop, High Street\n")
    daemon = await run_command("run")
    assert daemon.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        line = await daemon.stdout.readline()
    assert line.startswith(b"ready http://127.0.0.1:")
    code, _, err = await finish(await run_command("run"))
    assert (code, "daemon already uses this data_folder" in err) == (1, True)
    daemon.send_signal(signal.SIGTERM)
    code, out, _ = await finish(daemon)
    assert (code, out) == (0, "")
    code, _, err = await finish(await run_command("readers"))
    assert (code, "not running" in err) == (1, True)


async def test_wrong_enrolment_code_is_one_sentence_without_the_code(
    run_command: Run, gateway: GatewayStandIn
) -> None:
    gateway.enrolled["ABCD-1234"] = b"somebody else's key"
    code, _, err = await finish(await run_command("enrol", "--gateway", gateway.url, "--code", "ABCD-1234"))
    assert code == 1
    assert "enrolment code is wrong" in err
    assert "ABCD" not in err


def test_help_loads_no_library_of_the_daemon() -> None:
    program = (
        "import sys, terminal.cli; heavy = {'aiohttp', 'cryptography', 'msgspec', 'PIL', 'cv2', 'uvloop'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


async def test_shift_is_opened_shown_and_closed_on_the_command_line(
    start_till: StartTill, run_command: Run, gateway: GatewayStandIn
) -> None:
    await start_till()
    code, out, _ = await finish(await run_command("shift", "open"))
    assert code == 0
    assert "SHIFT OPEN" in out
    code, _, err = await finish(await run_command("shift", "open"))
    assert code == 1
    assert "A shift is open at this till already." in err
    assert "Corner Shop" in (await finish(await run_command("shift", "show")))[1]
    code, out, _ = await finish(await run_command("shift", "close"))
    assert code == 0
    assert "SHIFT CLOSED" in out
    assert gateway.open_shift is None
    code, out, _ = await finish(await run_command("shift", "show", "--last"))
    assert "SHIFT CLOSED" in out
