"""The page behind a receipt's code, in a stranger's browser: readable by everybody, complete by itself."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.acceptance.browser.counter import Counter, serious_findings
from tests.acceptance.browser.test_accessibility import CUT, ZOOMED
from tests.acceptance.browser.test_till_page import in_state

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]
PAGE_URL = (
    "() => fetch('/v1/page').then((said) => said.json()).then((page) => page.sale.answer.receipt.page_url)"
)


async def open_elsewhere(counter: Counter, url: str, window: dict[str, int]) -> tuple[Page, list[str]]:
    """Open a page as somebody who knows its address only, by keyboard; say what it asked for beside it."""
    context = await counter.browser.new_context(
        viewport={"width": window.get("width", 1280), "height": window.get("height", 800)},
        device_scale_factor=window.get("scale", 1),
    )
    counter.contexts.append(context)
    page, asked = await context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(url)
    return page, asked


@pytest.mark.parametrize("window", [{}, ZOOMED, {"width": 360, "height": 640}], ids=["100%", "200%", "phone"])
async def test_receipt_page_has_nothing_serious_in_either_language(
    counter: Counter, window: dict[str, int]
) -> None:
    till = await counter.open()
    await till.click("text=Flat white")
    await till.click("[data-key=charge]")
    counter.tap()
    await in_state(till, "approved")
    counter.take_away()
    url = await till.evaluate(PAGE_URL)
    page, asked = await open_elsewhere(counter, url, window)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.hreflang") == "zh-Hans"
    assert "Paid" in await page.inner_text("h1")
    assert "3.60 EUR" in await page.inner_text("body")
    found = await page.evaluate(CUT) + await serious_findings(page)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("html[lang='zh-Hans']")
    found += await page.evaluate(CUT) + await serious_findings(page)
    assert found == []
    assert {address.partition("?")[0] for address in asked} == {url}
