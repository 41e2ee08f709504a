"""The customer's display: follows the till, says what to do, and tells nobody in the queue anything else."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from simulators.networks.gateway_line import LineState, Moment
from tests.acceptance.browser.counter import Counter, read_code
from tests.acceptance.browser.test_till_page import in_state, ring_up
from wire.messages.till_page import PageKind

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


async def shows(display: Page, state: str) -> str:
    """Wait until the display is in a state, and return its words."""
    await display.wait_for_selector(f"#main[data-state={state}]")
    return await display.inner_text("body")


async def test_display_follows_the_sale_and_names_nobody(counter: Counter) -> None:
    till = await counter.open()
    display = await counter.open(page=PageKind.CUSTOMER)
    await till.click("text=Flat white")
    await till.click("text=Espresso")
    await till.focus("#amount")
    await till.keyboard.type("150+275")
    await till.keyboard.press("Enter")
    shown = await shows(display, "armed")
    assert "Hold card or phone here" in shown
    assert "€10.05" in shown
    # An item's name is the shop's; a keyed amount has none, and is said in the language shown.
    lines = display.locator(".lines li > span:first-child")
    await expect(lines).to_have_text(["Flat white", "Espresso", "Amount", "Amount"])
    await display.click("[data-key=language-zh-Hans]")
    await expect(lines).to_have_text(["Flat white", "Espresso", "金额", "金额"])
    await display.click("[data-key=language-en]")
    await expect(display.locator(".code img")).to_be_visible()
    counter.tap()
    shown = await shows(display, "approved")
    assert "Paid" in shown
    assert "Thank you" in shown
    assert await display.locator(".what .icon-check").count() == 1
    counter.take_away()
    # Neither the holder, nor their instrument, nor a balance, nor what else the till knows.
    told = await display.content()
    for secret in ("Ana", "Phone ··", "000001", "01M", "balance"):
        assert secret not in told.replace(await till.get_attribute("#live", "data-sale") or "", "")


async def test_card_held_there_again_confirms_as_both_pages_say(counter: Counter) -> None:
    till = await counter.open()
    display = await counter.open(page=PageKind.CUSTOMER)
    # Whoever pays lifts the card before the gateway has said that it wants the card itself.
    counter.line.strike_once(Moment.WHILE_IT_IS_DECIDED, counter.take_away)
    await ring_up(till, "2500")
    counter.radio.present(counter.card)
    await in_state(till, "confirming")
    for language, cashier_is_told, customer_is_told in (
        (
            "zh-Hans",
            "或由卡片自身确认：请将卡片留在读卡器上，或再次靠近。",
            "请将卡片留在读卡器上，或再次靠近",
        ),
        (
            "en",
            "Or the card proves itself: leave it on the reader, or hold it there again.",
            "Please leave your card on the reader, or hold it there again",
        ),
    ):
        for page in (till, display):
            await page.click(f"[data-key=language-{language}]")
        await expect(till.locator("#live")).to_contain_text(cashier_is_told)
        await expect(display.locator("#main .words")).to_have_text(customer_is_told)
    counter.radio.present(counter.card)
    await in_state(till, "approved")
    assert "Paid" in await shows(display, "approved")
    assert "card tap" in await till.inner_text("#live")


async def test_display_says_try_again_and_not_why(counter: Counter) -> None:
    till = await counter.open()
    display = await counter.open(page=PageKind.CUSTOMER, language="zh-Hans")
    await ring_up(till, "90000")
    counter.tap()
    await expect(display.locator(".what .hint")).to_contain_text("未能读取，请重试，或更换卡片或手机。")
    await expect(till.locator("#live .note-bad")).to_contain_text("above the card's limit")
    assert "limit" not in await display.content()
    await till.click("#live >> text=Cancel")
    assert "欢迎光临" in await shows(display, "idle")


async def test_display_never_says_paid_while_nobody_knows(counter: Counter) -> None:
    till = await counter.open()
    display = await counter.open(page=PageKind.CUSTOMER)
    await ring_up(till, "420")
    counter.lose_the_answer()
    counter.tap()
    shown = await shows(display, "unknown")
    assert "Please do not pay again" in shown
    assert "Paid" not in shown
    counter.line.set(LineState.CARRIES)
    assert "Paid" in await shows(display, "approved")
    await in_state(till, "approved")


async def test_display_can_do_nothing_but_watch(counter: Counter) -> None:
    display = await counter.open(page=PageKind.CUSTOMER)
    statuses = await display.evaluate(
        """async () => {
            const json = {"Content-Type": "application/json"};
            const ask = async (path, options) => (await fetch(path, options)).status;
            return [
                await ask("/v1/payments"), await ask("/v1/events"),
                await ask("/v1/page"), await ask("/v1/daemon"),
                await ask("/v1/sales", {method: "POST", headers: json, body: '{"amount_minor": 100}'}),
                await ask("/v1/page-links", {method: "POST", headers: json, body: '{"page": "till"}'}),
            ];
        }"""
    )
    assert statuses == [401] * 6


async def test_code_on_the_display_leads_to_the_page_of_the_receipt(counter: Counter) -> None:
    till = await counter.open()
    display = await counter.open(page=PageKind.CUSTOMER)
    await ring_up(till, "870")
    counter.tap()
    await shows(display, "approved")
    address = await read_code(display)
    assert address.startswith(counter.line.url)
    async with counter.shopfront.http.get(address) as response:
        assert response.status == 200
        assert "8.70" in await response.text()
    await expect(till.locator("#live .code img")).to_be_visible()
