"""A cashier's day on the till page, with a real gateway, a real daemon and a real browser."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

from simulators.networks.gateway_line import LineState
from tests.acceptance.browser.counter import HOLDER_PIN, Counter, read_code
from wire.messages.payments import OrderDetails
from wire.messages.till_page import PageKind

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


FAILURE = [["square", 220], ["square", 165]]
"""The tones of one decline."""


async def ring_up(page: Page, digits: str) -> None:
    """Type an amount and charge it, by keyboard alone."""
    await page.focus("#amount")
    await page.keyboard.type(digits)
    await page.keyboard.press("Enter")
    await in_state(page, "armed")


async def in_state(page: Page, *states: str) -> None:
    """Return once the sale stands in one of these states; say what is shown instead if it never does."""
    try:
        await page.wait_for_selector(", ".join(f"#live[data-state={state}]" for state in states))
    except PlaywrightTimeout:
        shown = await page.get_attribute("#live", "data-state")
        pytest.fail(f"{shown} instead of {states}: {await page.inner_text('body')}")


async def text_of(page: Page, selector: str) -> str:
    return await page.inner_text(selector)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Present card, phone or code", "Approved", "Receipt")),
        ("zh-Hans", ("请出示卡片、手机或付款码", "收款成功", "收据")),
    ],
)
async def test_a_tap_is_approved_with_shape_word_colour_and_sound(
    counter: Counter, language: str, words: tuple[str, str, str]
) -> None:
    page = await counter.open(language=language)
    await ring_up(page, "1250")
    armed, approved, receipt = words
    assert armed in await text_of(page, "#live")
    assert "€12.50" in await text_of(page, "#live")
    counter.tap()
    await in_state(page, "approved")
    live = await text_of(page, "#live")
    assert approved in live
    assert "€12.50" in live
    assert await page.locator("#live .icon-check").count() == 1
    assert await page.evaluate("getComputedStyle(document.getElementById('live')).backgroundColor") == (
        "rgb(10, 107, 52)"
    )
    assert await page.evaluate("window.tones") == [["sine", 784], ["sine", 1175]]
    await expect(page.locator("#said")).to_contain_text(approved)
    assert await page.get_attribute("html", "lang") == language
    await page.locator("#live").get_by_role("button", name=receipt).click()
    assert "Mill Lane Bakery" in await text_of(page, "dialog pre")


async def test_a_stranger_is_declined_with_what_to_do_and_the_sale_goes_on(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "500")
    counter.radio.present(counter.make_stranger().payment_card())
    note = page.locator("#live .note-bad")
    await expect(note).to_contain_text("Another card, phone or code may be presented.")
    assert await page.get_attribute("#live", "data-state") == "armed"
    assert await page.evaluate("window.tones") == FAILURE
    counter.take_away()
    counter.tap()
    await in_state(page, "approved")
    assert await note.count() == 0


async def test_each_decline_sounds_once_whatever_is_drawn_after_it(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "90000")
    code, note = page.locator("#live .code img"), page.locator("#live .note-bad")
    shown = await code.get_attribute("src")
    # A wallet scans the code and is above its limit: the code is used up, and a fresh one drawn.
    await counter.pay_code(await read_code(page))
    await expect(note).to_be_visible()
    await expect(code).to_be_visible()
    assert await code.get_attribute("src") != shown
    text = (await counter.shopfront.till.read_json("/v1/page"))["sale"]["code_text"]
    assert await read_code(page) == text
    assert await page.evaluate("window.tones") == FAILURE
    # The same reason again is another decline.
    counter.tap()
    async with asyncio.timeout(15):
        while await page.evaluate("window.tones.length") == len(FAILURE):
            continue
    counter.take_away()
    await page.click("#live >> text=Cancel")
    await in_state(page, "cancelled")
    await page.keyboard.press("Escape")
    await ring_up(page, "500")
    await expect(code).to_be_visible()
    await expect(note).to_have_count(0)
    assert await page.evaluate("window.tones") == FAILURE + FAILURE


async def test_what_is_rung_up_here_outlives_a_sale_begun_elsewhere(counter: Counter) -> None:
    page, other = await counter.open(), await counter.open()
    await other.click("text=Flat white")
    await ring_up(page, "570")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    paid = await page.get_attribute("#live", "data-sale")
    await other.wait_for_selector(f"#live[data-sale='{paid}'][data-state=approved]")
    await expect(page.locator("[data-key=charge]")).to_have_text("Charge")
    await expect(other.locator("[data-key=charge]")).to_have_text("Charge €3.60")


async def test_cart_items_and_their_tax_reach_the_order(counter: Counter) -> None:
    page = await counter.open()
    await page.click("text=Flat white")
    await page.click("text=Espresso")
    await page.click("text=Espresso")
    await page.focus("#amount")
    await page.keyboard.type("100")
    await page.click("text=Charge €9.00")
    await in_state(page, "armed")
    view = await counter.shopfront.till.read_json("/v1/page")
    order = OrderDetails(**{**view["order"], "lines": ()})
    # 10 % that 3.60 and 4.40 include.
    assert (order.amount_minor, order.tax_minor) == (900, 73)
    assert [
        (line.get("name"), line.get("quantity", 1), line["total_minor"]) for line in view["order"]["lines"]
    ] == [
        ("Flat white", 1, 360),
        ("Espresso", 2, 440),
        (None, 1, 100),
    ]
    await page.click("#live >> text=Cancel")
    await in_state(page, "cancelled")
    # What was not paid is still in the cart, for the next try.
    assert await page.locator("[data-key=charge]").inner_text() == "Charge €9.00"


async def test_customer_types_the_pin_on_the_page(counter: Counter) -> None:
    page = await counter.open()
    await counter.shopfront.ask_above(2_000)
    try:
        await ring_up(page, "2500")
        counter.tap()
        await in_state(page, "confirming")
        counter.take_away()
        for digit in "1111":
            await page.click(f"[data-key=pin-{digit}]")
        await page.click("[data-key=pin-send]")
        await expect(page.locator("#live .note-again")).to_contain_text("The PIN is wrong")
        assert await page.input_value("#pin") == ""
        await page.fill("#pin", HOLDER_PIN)
        await page.keyboard.press("Enter")
        await in_state(page, "approved")
    finally:
        await counter.shopfront.ask_above(1_000_000)


async def test_customer_agrees_on_the_phone_while_the_page_waits(counter: Counter) -> None:
    page = await counter.open()
    await counter.shopfront.ask_above(2_000)
    try:
        await ring_up(page, "2100")
        counter.tap()
        await in_state(page, "confirming")
        counter.take_away()
        await counter.confirm_on_phone()
        await in_state(page, "approved")
    finally:
        await counter.shopfront.ask_above(1_000_000)


async def test_till_code_is_shown_and_paid_by_a_wallet(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "700")
    code = page.locator("#live .code img")
    await expect(code).to_be_visible()
    assert await code.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")
    text = (await counter.shopfront.till.read_json("/v1/page"))["sale"]["code_text"]
    await counter.pay_code(text)
    await in_state(page, "approved")
    assert "shop's code" in await text_of(page, "#live")


async def test_unknown_outcome_says_what_to_do_and_is_taken_back_on_the_cashiers_word(
    counter: Counter,
) -> None:
    page = await counter.open()
    await ring_up(page, "900")
    counter.lose_the_answer()
    counter.tap()
    await in_state(page, "unknown")
    live = await text_of(page, "#live")
    assert "Do not take the money again" in live
    assert "Taken back by itself at" in live
    assert await page.locator("#live.live-unsure .icon-question").count() == 1
    assert await page.locator("#live .icon-check, #live .icon-cross").count() == 0
    assert [form for form, _ in await page.evaluate("window.tones")] == ["triangle"] * 4
    await page.click("[data-key=view-attempts]")
    await expect(page.locator("#attempts .row[data-stage=unknown]")).to_have_count(1)
    await page.click("#live >> text=take it back")
    await in_state(page, "reversing")
    assert "will not be charged" in await text_of(page, "#live")
    counter.line.set(LineState.CARRIES)
    await in_state(page, "closed", "declined")
    await expect(page.locator("#attempts .row")).to_have_count(0)
    assert await counter.unresolved_count() == 0


async def test_unknown_outcome_is_kept_and_found_out(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "910")
    counter.lose_the_answer()
    counter.tap()
    await in_state(page, "unknown")
    # A stray Enter decides nothing, and one more than was meant does not decide the contrary.
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    keep = page.locator("#live").get_by_role("button", name="keep it")
    await expect(keep).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#live")).to_contain_text("does not take it back")
    await page.keyboard.press("Enter")
    counter.line.set(LineState.CARRIES)
    await in_state(page, "approved")


async def test_a_press_counts_also_while_the_page_draws_an_outcome(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "1150")
    await page.hover("[data-key=view-payments]")
    await page.mouse.down()
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    await page.mouse.up()
    await expect(page.locator("#payments .row").first).to_contain_text("€11.50")


async def test_whoever_looks_at_the_payments_is_left_there_while_a_sale_goes_on(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "1170")
    await page.click("[data-key=view-payments]")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    await expect(page.locator("#payments .row").first).to_contain_text("€11.70")


async def test_refund_needs_a_managers_pin_and_shows_in_the_list(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "1300")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    await page.click("[data-key=view-payments]")
    row = page.locator("#payments .row").first
    await expect(row).to_contain_text("€13.00")
    await row.get_by_role("button", name="Refund").click()
    await page.get_by_label("Give back").fill("3.00")
    await counter.give_staff_pin(page, "0000")
    await page.click("dialog >> text=Refund €3.00")
    await expect(page.locator("dialog .wrong")).to_contain_text("The PIN is wrong")
    await counter.give_staff_pin(page)
    await page.click("dialog >> text=Refund €3.00")
    await expect(page.locator("dialog .done")).to_contain_text("Refunded: €3.00")
    await page.click("dialog >> text=Close")
    await expect(row).to_contain_text("Part refunded")
    await row.get_by_role("button", name="Refund").click()
    assert await page.get_by_label("Give back").input_value() == "10.00"


async def test_hold_with_room_for_a_tip_is_captured_and_another_let_go(counter: Counter) -> None:
    page, display = await counter.open(), await counter.open(page=PageKind.CUSTOMER)
    await page.click("text=Hold and tip")
    await page.check("#hold")
    await page.get_by_label("Kept for a tip").fill("2")
    await page.focus("#amount")
    await page.keyboard.type("1000")
    await expect(page.locator("[data-key=charge]")).to_have_text("Charge €12.00")
    await page.keyboard.press("Enter")
    await in_state(page, "armed")
    counter.tap()
    await in_state(page, "approved")
    counter.take_away()
    # Money that is only held is never called paid.
    assert "Held" in await text_of(page, "#live")
    assert "Approved" not in await text_of(page, "#live")
    await expect(display.locator("#main[data-state=approved]")).to_contain_text("Nothing is charged yet")
    assert "Paid" not in await text_of(display, "#main")
    await page.click("[data-key=view-payments]")
    row = page.locator("#payments .row").first
    await row.get_by_role("button", name="Charge").click()
    await page.get_by_label("Charge", exact=True).fill("10.00")
    await page.get_by_label("Tip").fill("1.50")
    await page.click("dialog >> text=Charge it")
    await expect(page.locator("dialog .done")).to_contain_text("Charged: €11.50")
    await page.click("dialog >> text=Close")
    await expect(row).to_contain_text("Tip €1.50")


async def test_daemon_that_is_gone_is_said_and_the_page_goes_on_when_it_is_back(counter: Counter) -> None:
    page = await counter.open()
    await ring_up(page, "450")
    await counter.hire("Zoe")
    await counter.shopfront.till.kill()
    await in_state(page, "lost")
    assert "may have gone on" in await text_of(page, "#live")
    assert await page.is_disabled("[data-key=charge]")
    await counter.restart_till()
    # The same cookie still lets it in, somebody signs in anew, and the sale nobody paid is over.
    await page.wait_for_selector("#live[data-state=idle]")
    await expect(page.locator("#main h2")).to_have_text("Who works here now?")
    await expect(page.get_by_label("Name")).to_contain_text("Zoe")
    await counter.sign_in()
    await ring_up(page, "460")
    counter.tap()
    await in_state(page, "approved")


async def test_offline_taps_wait_and_are_handed_in_with_progress(counter: Counter) -> None:
    page = await counter.open()
    async with asyncio.timeout(15):
        while (await counter.shopfront.till.read_json("/v1/offline")).get("synced_ms") is None:
            continue
    counter.line.set(LineState.CUT)
    await expect(page.locator("#chips")).to_contain_text("Offline")
    await ring_up(page, "300")
    counter.tap()
    await in_state(page, "accepted_offline")
    counter.take_away()
    live = await text_of(page, "#live")
    assert "Accepted offline" in live
    assert "Approved" not in live
    assert await page.locator("#live .icon-later").count() == 1
    assert [hertz for _, hertz in await page.evaluate("window.tones")] == [784, 784, 1047]
    await page.click("[data-key=view-status]")
    await expect(page.locator("#offline[data-mode=offline][data-waiting='1']")).to_contain_text("1 · €3.00")
    counter.line.set(LineState.CARRIES)
    await expect(page.locator("#offline[data-mode=online][data-waiting='0']")).to_be_visible()
    await expect(page.locator("#drain-progress")).to_contain_text("Handed in")


async def test_sound_and_language_are_remembered(counter: Counter) -> None:
    page = await counter.open()
    await page.click("text=Sound on")
    await page.reload()
    await expect(page.locator("[data-key=sound]")).to_have_text("Sound off")
    await ring_up(page, "120")
    counter.tap()
    await in_state(page, "approved")
    assert await page.evaluate("window.tones") == []
