"""Pain 10: no tap is swallowed by a result that is still shown, and no error is shown on a success."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from simulators.networks.gateway_line import LineState
from tests.acceptance.browser.counter import Counter
from tests.acceptance.browser.test_till_page import in_state, ring_up, text_of

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_second_tap_on_a_result_takes_nothing_and_the_next_sale_takes_it(counter: Counter) -> None:
    page = await counter.open()
    before_minor = await counter.shopfront.balance_minor()
    await ring_up(page, "1100")
    counter.tap()
    await in_state(page, "approved")
    first = await page.get_attribute("#live", "data-sale")
    counter.take_away()
    # The customer is not sure and taps once more, on the screen that says approved: nothing would take it.
    presented = await counter.presentation_count()
    counter.tap()
    assert await counter.armed_readers() == []
    counter.take_away()
    assert await page.get_attribute("#live", "data-sale") == first
    assert "Approved" in await text_of(page, "#live")
    assert await page.locator("#live .note, #alert:not(:empty)").count() == 0
    await ring_up(page, "700")
    assert await page.get_attribute("#live", "data-sale") != first
    counter.tap()
    await in_state(page, "approved")
    assert "€7.00" in await text_of(page, "#live")
    # The reader was off while the result was shown: one presentation, one charge.
    assert await counter.presentation_count() == presented + 1
    assert before_minor - await counter.shopfront.balance_minor() == 1_800


async def test_card_left_on_the_reader_after_approval_shows_no_error(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "210")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    counter.radio.present(counter.make_stranger().payment_card())
    await page.click("[data-key=view-payments]")
    await expect(page.locator("#payments .row").first).to_contain_text("€2.10")
    assert await page.get_attribute("#live", "data-state") == "approved"
    assert await page.locator(".note, #alert:not(:empty), #live .icon-cross").count() == 0


async def test_late_answer_of_an_older_sale_is_never_the_new_ones(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "610")
    counter.lose_the_answer()
    counter.tap()
    await in_state(page, "unknown")
    counter.take_away()
    older = await page.get_attribute("#live", "data-sale")
    await ring_up(page, "820")
    newer = await page.get_attribute("#live", "data-sale")
    assert newer != older
    tones = await page.evaluate("window.tones.length")
    counter.line.set(LineState.CARRIES)
    # The older one's answer comes while the newer one waits for its tap.
    late = page.locator(f".late[data-sale='{older}']")
    await expect(late).to_contain_text("Approved")
    await expect(late).to_contain_text("€6.10")
    assert await page.get_attribute("#live", "data-state") == "armed"
    assert await page.get_attribute("#live", "data-sale") == newer
    assert await page.evaluate("window.tones.length") == tones
    assert "€8.20" in await text_of(page, "#live .live-body")
    assert "Approved" not in await text_of(page, "#live .live-body")
    counter.tap()
    await in_state(page, "approved")
    assert "€8.20" in await text_of(page, "#live .live-body")
    await late.get_by_role("button").click()
    await expect(late).to_have_count(0)


async def test_old_result_steps_back_when_the_next_amount_is_typed(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "330")
    counter.tap()
    await in_state(page, "approved")
    await page.focus("#amount")
    await page.keyboard.type("5")
    await expect(page.locator("#live")).to_contain_text("Ready for the next sale")
    await expect(page.locator("#live .past")).to_contain_text("Approved €3.30")
    assert await page.locator("#live.live-good").count() == 0
