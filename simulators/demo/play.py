"""What happens on the stage: a scenario that must come out right, or shoppers without end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from simulators.demo.board import Board
from simulators.demo.checkout import Checkout
from simulators.demo.scenario import CloneStep, Presenting, Scenario, carrier_of, device_of
from simulators.demo.shoppers import Crowd
from simulators.demo.stage import Stage
from simulators.demo.tally import APPROVED, Outcome, Tally
from simulators.errors import ProcessFailed, SimulatorError
from simulators.world.messages import CloneOrder
from wire.money import format_minor

HEALTH_EVERY_S: Final = 2.0
BALANCES_EVERY_S: Final = 15.0
LINK_EVERY_S: Final = 600.0
"""A link is good for a quarter of an hour."""
OpenBrowser = Callable[[str], object]
POOR_MINOR: Final = 1_500
"""Whoever holds less tops up."""
TOP_UP: Final = "50.00"


async def play_scenario(scenario: Scenario, stage: Stage, board: Board, tally: Tally) -> list[str]:
    """Do all steps in order and return what was not as expected; empty is success.

    A step whose device is off is left out, and said so.

    Raises:
        ProcessFailed: a process did not do its part.
    """
    complaints: list[str] = []
    spent_minor: dict[str, int] = defaultdict(int)
    wallet_of = {entry.name: entry.wallet for entry in stage.file.instruments}
    for number, step in enumerate(scenario.steps, start=1):
        if isinstance(step, CloneStep):
            board.say(step.say)
            await stage.world.clone(step.card, CloneOrder(name=step.name))
            wallet_of[step.name] = wallet_of[step.card]
            continue
        device = device_of(step)
        if device in stage.devices_off:
            board.say(f"left out, {device} is off: {step.say}")
            continue
        outcome = await _sell(step, stage, board, tally)
        complaints += _complaints_about(number, step, outcome)
        if step.expect == APPROVED:
            spent_minor[wallet_of[carrier_of(step)]] += stage.file.money(step.amount).minor
    return complaints + await check_sums(stage, spent_minor)


async def check_sums(stage: Stage, spent_minor: dict[str, int]) -> list[str]:
    """Compare every wallet with what should be left in it, and return what is not so."""
    currency = stage.file.iso_currency
    held_minor = await stage.office.list_balances_minor()
    complaints = []
    for wallet in stage.file.wallets:
        due = stage.file.money(wallet.funds).minor - spent_minor.get(wallet.name, 0)
        held = held_minor[stage.wallet_ids[wallet.name]]
        if held != due:
            complaints.append(
                f"wallet {wallet.name}: expected {format_minor(due, currency)} {currency} left,"
                f" the gateway says {format_minor(held, currency)}"
            )
    return complaints


async def entertain(
    stage: Stage, board: Board, tally: Tally, crowd: Crowd, open_browser: OpenBrowser
) -> None:
    """Let shoppers come to every till, and somebody look on its page, until cancelled."""
    selling = [_keep_selling(checkout, stage, board, tally, crowd) for checkout in stage.checkouts.values()]
    await asyncio.gather(*selling, _keep_balances(stage, board), _keep_page_link(stage, board, open_browser))


async def keep_health(stage: Stage, board: Board) -> None:
    """Show how every till's readers are, until cancelled."""
    while True:
        for checkout in stage.checkouts.values():
            try:
                board.show_health(checkout.till.name, await checkout.till.find_daemon())
            except ProcessFailed as error:
                board.say(str(error))
        await asyncio.sleep(HEALTH_EVERY_S)


async def _keep_page_link(stage: Stage, board: Board, open_browser: OpenBrowser) -> None:
    """Keep a link to the first till's page in sight that still lets somebody in, until cancelled.

    Args:
        open_browser: takes the first one, where there is a desktop.
    """
    checkout = next(iter(stage.checkouts.values()))
    is_first = True
    while True:
        try:
            url = (await checkout.till.make_page_link()).urls[0]
        except ProcessFailed as error:
            board.say(str(error))
        else:
            board.pin(f"{checkout.till.name}'s page (each link lets one browser in): {url}")
            if is_first:
                await asyncio.to_thread(open_browser, url)
                is_first = False
        await asyncio.sleep(LINK_EVERY_S)


async def _sell(
    step: Presenting, stage: Stage, board: Board, tally: Tally, *, expected: bool = True
) -> Outcome:
    till = stage.file.till_of(device_of(step))
    outcome = await stage.checkouts[till].sell(step)
    tally.add(outcome)
    board.show_outcome(step.say, outcome, step.expect if expected else None)
    return outcome


def _complaints_about(number: int, step: Presenting, outcome: Outcome) -> list[str]:
    if outcome.code == step.expect and outcome.mode == (step.mode or outcome.mode):
        return []
    expected = f"{step.expect} {step.mode or ''}".rstrip()
    came = f"{outcome.code} {outcome.mode or ''}".rstrip()
    return [f"step {number} ({step.say}): expected {expected}, got {came} at {outcome.till}"]


async def _keep_selling(checkout: Checkout, stage: Stage, board: Board, tally: Tally, crowd: Crowd) -> None:
    while True:
        step = crowd.draw(checkout.till.name)
        if step is not None:
            thing = carrier_of(step)
            crowd.take(thing)
            try:
                await _sell(step, stage, board, tally, expected=False)
            except SimulatorError as error:
                board.say(f"{step.say}: {error}")
            finally:
                crowd.give_back(thing)
        await asyncio.sleep(crowd.draw_pause_s())


async def _keep_balances(stage: Stage, board: Board) -> None:
    while True:
        try:
            board.show_balances(await _top_up(stage, board))
        except ProcessFailed as error:
            board.say(str(error))
        await asyncio.sleep(BALANCES_EVERY_S)


async def _top_up(stage: Stage, board: Board) -> dict[str, int]:
    """Give money to whoever has hardly any left, and return what everybody holds, by name."""
    held_minor = await stage.office.list_balances_minor()
    for wallet in stage.file.wallets:
        wallet_id = stage.wallet_ids[wallet.name]
        if held_minor[wallet_id] < POOR_MINOR:
            await stage.office.fund_wallet(wallet_id, TOP_UP)
            held_minor[wallet_id] += stage.file.money(TOP_UP).minor
            board.say(f"{wallet.holder} tops up {TOP_UP} {stage.file.currency}")
    return {wallet.holder: held_minor[stage.wallet_ids[wallet.name]] for wallet in stage.file.wallets}
