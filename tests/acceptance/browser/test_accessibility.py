"""Every page and state: nothing serious found by axe, keyboard alone, readable at 200 %, both languages."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from simulators.networks.gateway_line import LineState
from tests.acceptance.browser.counter import Counter, serious_findings
from tests.acceptance.browser.test_customer_page import shows
from tests.acceptance.browser.test_till_page import in_state, ring_up
from wire.messages.till_page import PageKind

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]
ZOOMED = {"width": 640, "height": 400, "scale": 2}
"""What a window of 1280 by 800 is at 200 %: half as many pixels of the page, each twice as large."""

# What is wider than the page, or cut by its own box where nothing lets a person scroll to it.
CUT = """() => {
    const found = [];
    if (document.documentElement.scrollWidth > window.innerWidth) found.push("the page scrolls sideways");
    for (const one of document.querySelectorAll("body *")) {
        const box = one.getBoundingClientRect();
        if (box.width === 0 || one.closest(".unseen, svg") !== null) continue;
        const style = getComputedStyle(one);
        const hides = (overflow) => overflow === "hidden" || overflow === "clip";
        const isCut = (hides(style.overflowX) && one.scrollWidth > one.clientWidth + 1)
            || (hides(style.overflowY) && one.scrollHeight > one.clientHeight + 1);
        const isOutside = box.right > window.innerWidth + 1 || box.left < -1;
        if (isCut || isOutside) found.push(one.outerHTML.slice(0, 120));
    }
    return found;
}"""

OUTCOME_IS_SEEN = """() => {
    const words = document.querySelector("#live .live-words").getBoundingClientRect();
    return words.top >= 0 && words.bottom <= window.innerHeight;
}"""

WINDOWS = pytest.mark.parametrize(
    ("window", "language"), [({}, "en"), (ZOOMED, "zh-Hans")], ids=["100%", "200%"]
)
"""Nothing is cut in either language in either window; axe judges each window in one of them."""


async def look(page: Page, found: dict[str, list[str]], name: str, language: str) -> None:
    """Judge the page as it stands."""
    for tag in ("zh-Hans", "en"):
        await page.click(f"[data-key='language-{tag}']")
        found[f"{name} {tag}"] = await page.evaluate(CUT)
        if tag == language:
            found[f"{name} {tag}"] += await serious_findings(page)


@WINDOWS
async def test_till_page_has_nothing_serious_in_any_state(
    counter: Counter, window: dict[str, int], language: str
) -> None:
    page = await counter.open(**window)
    found: dict[str, list[str]] = {}
    await page.click("text=Flat white")
    await page.click("text=Hold and tip")
    await look(page, found, "cart", language)
    await page.click("text=Hold and tip")
    await page.click("[data-key=charge]")
    await in_state(page, "armed")
    await expect(page.locator("#live .code img")).to_be_visible()
    await look(page, found, "armed", language)
    counter.tap()
    await in_state(page, "approved")
    if not await page.evaluate(OUTCOME_IS_SEEN):
        found["approved"] = ["the outcome is scrolled out of the window"]
    await look(page, found, "approved", language)
    counter.take_away()
    await page.click("#live [data-key]")
    found["receipt"] = await serious_findings(page) + await page.evaluate(CUT)
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await ring_up(page, "90000")
    counter.tap()
    await expect(page.locator("#live .note-bad")).to_be_visible()
    await look(page, found, "declined for now", language)
    counter.take_away()
    await page.click("#live >> text=Cancel")
    await in_state(page, "cancelled")
    await look(page, found, "cancelled", language)
    await counter.shopfront.ask_above(2_000)
    await ring_up(page, "2500")
    counter.tap()
    await in_state(page, "confirming")
    counter.take_away()
    await look(page, found, "confirming", language)
    await page.click("#live >> text=Take it back")
    await in_state(page, "closed", "declined")
    await counter.shopfront.ask_above(1_000_000)
    await look(page, found, "closed", language)
    await ring_up(page, "500")
    counter.lose_the_answer()
    counter.tap()
    await in_state(page, "unknown")
    counter.take_away()
    await look(page, found, "unknown", language)
    for view in ("attempts", "payments", "status"):
        await page.click(f"[data-key=view-{view}]")
        await look(page, found, view, language)
    await page.click("[data-key=view-payments]")
    await page.get_by_role("button", name="Refund").first.click()
    found["refund"] = await serious_findings(page) + await page.evaluate(CUT)
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    counter.line.set(LineState.CARRIES)
    await in_state(page, "approved")
    await page.click("[data-key=view-shift]")
    await page.click("[data-key=shift-open]")
    await expect(page.locator("#shift")).to_be_visible()
    await look(page, found, "shift", language)
    await page.click("[data-key=shift-close]")
    await expect(page.locator("#last-shift")).to_be_visible()
    await look(page, found, "last shift", language)
    await page.click("[data-key=sign-out]")
    await expect(page.locator("[data-key=staff-pin]")).to_be_focused()
    await look(page, found, "sign in", language)
    assert {name: one for name, one in found.items() if one} == {}


@WINDOWS
async def test_customers_display_has_nothing_serious_in_any_state(
    counter: Counter, window: dict[str, int], language: str
) -> None:
    till = await counter.open()
    display = await counter.open(page=PageKind.CUSTOMER, **window)
    found: dict[str, list[str]] = {}
    await till.click("text=Flat white")
    await till.click("[data-key=charge]")
    await shows(display, "armed")
    await look(display, found, "armed", language)
    counter.tap()
    await shows(display, "approved")
    await look(display, found, "approved", language)
    counter.take_away()
    await ring_up(till, "400")
    counter.lose_the_answer()
    counter.tap()
    await shows(display, "unknown")
    await look(display, found, "unknown", language)
    counter.line.set(LineState.CARRIES)
    await shows(display, "approved")
    assert {name: one for name, one in found.items() if one} == {}


async def test_a_sale_and_a_refund_by_keyboard_alone(counter: Counter) -> None:
    page = await counter.open()
    # The amount is where a page begins.
    await page.keyboard.type("640")
    await page.keyboard.press("Enter")
    await in_state(page, "armed")
    # Enter on the button that has the focus cancels; the next sale needs no pointer either.
    assert await page.evaluate("document.activeElement.textContent") == "Cancel"
    await page.keyboard.press("Enter")
    await in_state(page, "cancelled")
    await page.keyboard.press("Enter")
    await in_state(page, "armed")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    assert await page.evaluate("document.activeElement.id") == "amount"
    await tab_to(page, "Payments")
    await page.keyboard.press("Enter")
    await tab_to(page, "Refund")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("dialog[open]")
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    assert await page.evaluate("document.activeElement.textContent") == "Refund"


async def test_focus_is_always_seen(counter: Counter) -> None:
    page = await counter.open()
    for _ in range(12):
        await page.keyboard.press("Tab")
        outline = await page.evaluate(
            "(style => [style.outlineStyle, parseFloat(style.outlineWidth)])"
            "(getComputedStyle(document.activeElement))"
        )
        assert outline[0] == "solid"
        assert outline[1] >= 2


async def tab_to(page: Page, words: str) -> None:
    """Press Tab until the element with these words has the focus; around the whole page if need be."""
    async with asyncio.timeout(10):
        while await page.evaluate("document.activeElement.textContent") != words:
            await page.keyboard.press("Tab")
