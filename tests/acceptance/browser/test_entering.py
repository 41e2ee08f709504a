"""Who gets in: a link once, its cookie afterwards, and no page of anybody else's."""

from __future__ import annotations

import pytest
from aiohttp import web
from playwright.async_api import expect

from tests.acceptance.browser.counter import Counter
from wire.messages.till_page import PageKind

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_link_lets_one_browser_in_and_leaves_no_trace_in_its_address(counter: Counter) -> None:
    link = (await counter.make_link()).urls[0]
    first, second = await counter.browser.new_context(), await counter.browser.new_context(locale="zh-CN")
    counter.contexts += [first, second]
    page = await first.new_page()
    await page.goto(link)
    await page.wait_for_selector("#live[data-state]")
    assert page.url == f"{counter.url}/"
    assert "#" not in str(await page.evaluate("performance.getEntriesByType('navigation').map(e => e.name)"))
    (cookie,) = await first.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert await page.evaluate("document.cookie") == ""
    stranger = await second.new_page()
    await stranger.goto(link)
    # Nobody has chosen a language here yet: it is the browser's.
    await expect(stranger.locator("[role=alert]")).to_contain_text("该链接已使用")
    await stranger.goto(f"{counter.url}/")
    await expect(stranger.locator("#main [role=alert]")).to_contain_text("未获授权")
    await expect(stranger.locator("#main")).to_contain_text("tapscan-terminal page")


async def test_browser_that_is_locked_out_needs_a_new_link(counter: Counter) -> None:
    page = await counter.open()
    await page.click("[data-key=view-status]")
    await page.click("text=Lock this browser out")
    await expect(page.locator("#main [role=alert]")).to_contain_text("not let in")


async def test_display_that_is_not_let_in_says_so(counter: Counter) -> None:
    display = await counter.open(page=PageKind.CUSTOMER)
    await display.context.clear_cookies()
    await display.reload()
    await expect(display.locator("#main[data-state=lost]")).to_contain_text("not let in")


async def test_page_of_another_origin_can_do_nothing_with_the_cookie(counter: Counter) -> None:
    page = await counter.open()

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        elsewhere = await page.context.new_page()
        # The same machine, so the cookie is the browser's to send; only the port is another.
        await elsewhere.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        outcomes = await elsewhere.evaluate(
            """async (till) => {
                const outcomes = [];
                const ask = (path, options) => fetch(till + path, {credentials: "include", ...options})
                    .then(() => "answered", () => "refused");
                const plain = {method: "POST", mode: "no-cors", body: '{"amount_minor": 100}'};
                outcomes.push(await ask("/v1/sales", plain));
                const json = {...plain, mode: "cors", headers: {"Content-Type": "application/json"}};
                outcomes.push(await ask("/v1/sales", json));
                outcomes.push(await ask("/v1/payments", {}));
                const frame = document.createElement("iframe");
                frame.src = till + "/";
                document.body.append(frame);
                await new Promise((loaded) => { frame.onload = loaded; });
                let title = "hidden";
                try { title = frame.contentDocument.title; } catch { title = "hidden"; }
                outcomes.push(title);
                return outcomes;
            }""",
            counter.url,
        )
    finally:
        await runner.cleanup()
    assert outcomes[1:3] == ["refused", "refused"]
    assert outcomes[3] in ("hidden", "")
    # Whatever that page was told, the till did nothing.
    assert await page.get_attribute("#live", "data-state") != "armed"
    sale = (await counter.shopfront.till.read_json("/v1/page")).get("sale")
    assert sale is None or sale["amount_minor"] != 100
    counter.foreign_requests.clear()
