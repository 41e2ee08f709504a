"""People on the till page: signing in by PIN or tag, what each may do, and a shift from opening to close."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.browser.counter import CASHIER_PIN, STAFF_PIN, Counter
from tests.acceptance.browser.test_till_page import in_state, ring_up

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


async def sign_in(page: Page, staff_id: str, pin: str) -> None:
    await page.get_by_label("Name").select_option(staff_id)
    await page.get_by_label("PIN").fill(pin)
    await page.keyboard.press("Enter")


async def test_nothing_is_shown_or_done_before_somebody_signs_in_by_pin(counter: Counter) -> None:
    await counter.sign_out()
    page = await counter.open(signed_in=False)
    await expect(page.locator("#main h2")).to_have_text("Who works here now?")
    assert await page.locator("#nav button, #amount, .row").count() == 0
    status = await page.evaluate(
        """fetch("/v1/sales", {method: "POST", headers: {"Content-Type": "application/json"},
            body: '{"amount_minor": 100}'}).then((answer) => answer.json())"""
    )
    # Whatever the page shows, the daemon asks for a right of whoever stands at a screen.
    assert status["code"] == "staff_sign_in_needed"
    await sign_in(page, counter.staff.cashier_id, "0000")
    await expect(page.locator("#main .wrong")).to_contain_text("The PIN is wrong")
    assert await page.get_by_label("PIN").input_value() == ""
    await sign_in(page, counter.staff.cashier_id, CASHIER_PIN)
    await expect(page.locator("#tools .who")).to_contain_text("Ben")
    await ring_up(page, "340")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    await page.click("text=Sign out")
    await expect(page.locator("#main h2")).to_have_text("Who works here now?")


async def test_a_tag_signs_in_and_a_copyable_one_does_not(counter: Counter) -> None:
    await counter.sign_out()
    page = await counter.open(signed_in=False, language="zh-Hans")
    await page.click("[data-key=tag]")
    await expect(page.locator(".tag-reader")).to_contain_text("请将员工卡靠近读卡器")
    counter.tap()
    await expect(page.locator(".tag-reader .wrong")).to_be_visible()
    counter.take_away()
    await page.click("[data-key=tag]")
    await expect(page.locator(".tag-reader")).to_contain_text("请将员工卡靠近读卡器")
    counter.radio.present(counter.staff.tag)
    await expect(page.locator("#tools .who")).to_contain_text("Mia")
    counter.take_away()


async def test_a_manager_steps_in_at_a_cashiers_till_to_refund(counter: Counter) -> None:
    await counter.sign_out()
    page = await counter.open(signed_in=False)
    await sign_in(page, counter.staff.cashier_id, CASHIER_PIN)
    await ring_up(page, "560")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    await page.click("[data-key=view-payments]")
    row = page.locator("#payments .row").first
    await expect(row).to_contain_text("€5.60")
    await row.get_by_role("button", name="Refund").click()
    # The cashier's own PIN gives nothing back; the manager's does, and the cashier stays signed in.
    await page.get_by_label("Name").select_option(counter.staff.cashier_id)
    await page.get_by_label("PIN").fill(CASHIER_PIN)
    await page.click("dialog >> text=Refund €5.60")
    await expect(page.locator("dialog .wrong")).not_to_be_empty()
    await page.get_by_label("Name").select_option(counter.staff.manager_id)
    await page.get_by_label("PIN").fill(STAFF_PIN)
    await page.click("dialog >> text=Refund €5.60")
    await expect(page.locator("dialog .done").last).to_contain_text("Refunded: €5.60")
    await page.click("dialog >> text=Close")
    await expect(page.locator("#tools .who")).to_contain_text("Ben")


async def test_a_shift_opens_counts_and_closes_with_its_report(counter: Counter) -> None:
    page = await counter.open()
    await page.click("[data-key=view-shift]")
    await page.click("text=Open a shift")
    await expect(page.locator("#shift")).to_contain_text("Mia")
    await page.click("[data-key=view-sell]")
    await ring_up(page, "1250")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    await page.click("[data-key=view-shift]")
    await expect(page.locator("#shift .facts div").first).to_contain_text("€12.50")
    await page.click("text=Close the shift")
    last = page.locator("#last-shift")
    await expect(last.locator(".facts div").first).to_contain_text("€12.50")
    await expect(page.locator("#main")).to_contain_text("No shift is open")
    await last.get_by_role("button", name="Report").click()
    await expect(page.locator("dialog pre")).to_contain_text("12.50")
