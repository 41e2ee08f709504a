"""`python -m tests.acceptance.browser.pictures docs`: the pictures of the pages in README and docs."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import Page

from simulators.networks.gateway_line import LineState
from tests.acceptance.browser.counter import Counter, open_counter
from tests.acceptance.browser.test_receipt_page import PAGE_URL, open_elsewhere
from tests.acceptance.browser.test_till_page import in_state, ring_up
from wire.messages.till_page import PageKind

COLOURS = 128
PHONE = {"width": 400, "height": 860, "scale": 2}
SHOP = "Mill Lane Bakery 磨坊面包店"


async def take_pictures(counter: Counter, folder: Path) -> None:
    """Walk through a few sales, and leave a picture of each page on the way."""
    english, chinese = await counter.open(), await counter.open(language="zh-Hans")
    display = await counter.open(page=PageKind.CUSTOMER, width=1024, height=640)
    await english.click("text=Flat white")
    await english.click("text=Espresso")
    await english.click("text=Espresso")
    await english.focus("#amount")
    await english.keyboard.type("450")
    await english.keyboard.press("Enter")
    await in_state(english, "armed")
    await english.wait_for_selector("#live .code img")
    await _keep(english, folder / "till-armed.png")
    await display.wait_for_selector(".code img")
    await _keep(display, folder / "customer-armed.png")
    counter.tap()
    await in_state(chinese, "approved")
    counter.take_away()
    await _keep(chinese, folder / "till-approved-zh.png")
    await display.click("[data-key=language-zh-Hans]")
    await _keep(display, folder / "customer-paid-zh.png")
    receipt, _ = await open_elsewhere(counter, await english.evaluate(PAGE_URL), **PHONE)
    await _keep(receipt, folder / "receipt-page.png")
    await ring_up(english, "2680")
    counter.radio.present(counter.make_stranger().payment_card())
    await english.wait_for_selector("#live .note-bad")
    counter.take_away()
    await english.click("#live >> text=Cancel")
    await in_state(english, "cancelled")
    await english.keyboard.press("Escape")
    await ring_up(english, "1990")
    counter.lose_the_answer()
    counter.tap()
    await in_state(english, "unknown")
    counter.take_away()
    await english.click("[data-key=view-payments]")
    await _keep(english, folder / "till-unknown.png")
    counter.line.set(LineState.CARRIES)
    await in_state(english, "approved")


async def _keep(page: Page, path: Path) -> None:
    await page.mouse.move(0, 0)
    await page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    picture = Image.open(io.BytesIO(await page.screenshot()))
    # A page has few colours; a palette makes the file a third as large.
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


async def _main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        async with open_counter(Path(scratch), merchant_name=SHOP) as counter:
            await take_pictures(counter, folder)
            await counter.settle()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
