"""Pain 9: a cashier sees whether the previous payment went through, also after the page was closed."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.acceptance.browser.counter import Counter
from tests.acceptance.browser.test_till_page import in_state, ring_up

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_cashier_sees_whether_the_last_payments_went_through(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "1530")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    await ring_up(page, "99999")
    counter.tap()
    await expect(page.locator("#live .note-bad")).to_be_visible()
    await page.click("#live >> text=Cancel")
    await in_state(page, "cancelled")
    counter.take_away()
    # Another browser, as after the tablet's battery was empty: the list is the till's, not the page's.
    other = await counter.open(language="zh-Hans")
    await other.click("[data-key=view-payments]")
    rows = other.locator("#payments .row")
    await expect(rows.nth(0)).to_contain_text("€999.99")
    await expect(rows.nth(0)).to_contain_text("失败")
    assert await rows.nth(0).locator(".icon-cross").count() == 1
    await expect(rows.nth(1)).to_contain_text("€15.30")
    await expect(rows.nth(1)).to_contain_text("已付款")
    assert await rows.nth(1).locator(".icon-check").count() == 1
    # The till's own code that nobody scanned is not a payment.
    assert "商户收款码" not in await rows.nth(0).inner_text()
    await rows.nth(1).get_by_role("button", name="收据").click()
    await expect(other.locator("dialog pre")).to_contain_text("15.30 EUR")
    await expect(other.locator("dialog pre")).to_contain_text("已付款")
