"""The page behind a receipt's code, in a stranger's browser: readable by everybody, complete by itself."""

from __future__ import annotations

from typing import Literal

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
WINDOWS: tuple[tuple[dict[str, int], Literal["light", "dark"]], ...] = (
    ({"width": 1280, "height": 800}, "light"),
    (ZOOMED, "light"),
    ({"width": 360, "height": 640}, "dark"),
)
"""A window at 100 %, the same at 200 %, and a phone's at night."""
PAGE_URL = (
    "() => fetch('/v1/page').then((said) => said.json()).then((page) => page.sale.answer.receipt.page_url)"
)


async def open_elsewhere(
    counter: Counter, url: str, *, width: int, height: int, scale: int = 1
) -> tuple[Page, list[str]]:
    """Open a page as somebody who knows its address only; the list grows by what it asks for."""
    context = await counter.browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=scale
    )
    counter.contexts.append(context)
    page, asked = await context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(url)
    return page, asked


async def test_receipt_page_has_nothing_serious_in_either_language(counter: Counter) -> None:
    till = await counter.open()
    await till.click("text=Flat white")
    await till.click("[data-key=charge]")
    await in_state(till, "armed")
    counter.tap()
    await in_state(till, "approved")
    counter.take_away()
    url = await till.evaluate(PAGE_URL)
    for window, colours in WINDOWS:
        page, asked = await open_elsewhere(counter, url, **window)
        await page.emulate_media(color_scheme=colours)
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.hreflang") == "zh-Hans"
        assert "Paid" in await page.inner_text("h1")
        assert "3.60 EUR" in await page.inner_text("body")
        found = await page.evaluate(CUT) + await serious_findings(page)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("html[lang='zh-Hans']")
        found += await page.evaluate(CUT) + await serious_findings(page)
        assert found == [], window
        assert {address.partition("?")[0] for address in asked} == {url}
