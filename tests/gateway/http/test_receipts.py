"""The public receipt page, as a browser gets it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from gateway.config import GatewayConfig, ListenSettings
from gateway.receipts.names import ReceiptPages
from gateway.receipts.rate import PAGES_AT_ONCE_MAX
from wire.messages.base import dump_message
from wire.messages.payments import (
    CaptureMode,
    CaptureRequest,
    LineItem,
    OrderDetails,
    RefundRequest,
    ReversalRequest,
    StaffProof,
    VoidRequest,
)
from wire.messages.staff import StaffRole

NOW_MS = 1_767_225_600_000
PUBLIC_URL = "https://pay.example.com"
PIN = "2580"


class Reader(HTMLParser):
    """What a page holds: its words, its tags, and every address in it."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if data.strip() and self.tags[-1] != "style":
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " | ".join(self.texts)


@pytest.fixture
def config(config: GatewayConfig) -> GatewayConfig:
    """The gateway's settings, with the address that the world knows it by."""
    return msgspec.structs.replace(config, listen=ListenSettings(port=0, public_url=PUBLIC_URL))


@pytest.fixture
async def till(shop: Any) -> Any:
    # What is signed begins with the public address; the connection goes to where it listens.
    shop.till.url, listening = PUBLIC_URL, shop.gateway.url
    send = shop.till.send

    async def send_there(method: str, target: str, body: bytes = b"", headers: Any = None) -> Any:
        shop.till.url = listening
        try:
            return await send(method, target, body, headers)
        finally:
            shop.till.url = PUBLIC_URL

    shop.till.send = send_there
    await shop.enrol()
    return shop.till


async def get(shop: Any, url: str, **headers: str) -> Any:
    assert url.startswith(PUBLIC_URL + "/r/")
    return await shop.till.send("GET", url[len(PUBLIC_URL) :], headers=headers)


async def read(shop: Any, url: str, **headers: str) -> Reader:
    answer = await get(shop, url, **headers)
    assert answer.status == 200, answer.body
    reader = Reader()
    reader.feed(answer.body.decode("utf-8"))
    return reader


async def post(till: Any, target: str, message: object, key: str) -> Any:
    return await till.call("POST", target, dump_message(message), idempotency_key=key)


async def test_a_paid_page_says_what_the_paper_says(shop: Any, till: Any) -> None:
    order = OrderDetails(
        amount_minor=1_250,
        tax_minor=200,
        lines=(
            LineItem(name="Oolong <b>乌龙</b>", quantity=2, total_minor=900),
            LineItem(name="Cake", total_minor=250),
            LineItem(total_minor=100),
        ),
    )
    paid = (await till.pay(shop.request(1_250, order=order))).json
    page = await read(shop, paid["receipt"]["page_url"])
    for words in (
        "Mill Lane Bakery",
        "Mill Lane 12",
        "Paid",
        "12.50 EUR",
        "2.00 EUR",
        "2 × Oolong <b>乌龙</b>",
        "2.50 EUR",
        "Amount",
        paid["receipt"]["receipt_number"],
        paid["payment_id"],
        paid["order_id"],
        "2026-01-01 00:00 UTC",
        paid["receipt"]["instrument_label"],
    ):
        assert words in page.text, words
    assert "b" not in page.tags, "what a shop calls its goods is text"
    in_chinese = await read(shop, paid["receipt"]["page_url"] + "?lang=zh-Hans")
    assert "金额" in in_chinese.text, "a keyed amount has no name of its own"


async def test_nothing_of_the_payer_but_what_the_paper_shows(shop: Any, till: Any) -> None:
    paid = (await till.pay(shop.request(1_250))).json
    body = (await get(shop, paid["receipt"]["page_url"])).body.decode()
    for secret in ("Ana Lima", shop.phone.wallet_id, shop.phone.instrument_id, shop.phone.key_id.hex()):
        assert secret not in body


async def test_it_says_what_became_of_the_payment_since(shop: Any, till: Any) -> None:
    terminal = shop.pending.terminal
    await shop.office.store.set_refund_limit(terminal.terminal_id, 5_000)
    member = await shop.office.staff.add_staff(
        terminal.merchant_id, "Mira", StaffRole.MANAGER, PIN, now_ms=NOW_MS
    )
    request = shop.request(1_250)
    paid = (await till.pay(request)).json
    url = paid["receipt"]["page_url"]
    for total_minor, words in ((250, "Paid, refunded in part"), (1_250, "Refunded in full")):
        refund = RefundRequest(
            refund_id=till.new_id(),
            total_minor=total_minor,
            staff=StaffProof(staff_id=member.staff_id, pin=PIN),
        )
        answer = await post(till, f"/v1/payments/{paid['payment_id']}/refunds", refund, refund.refund_id)
        assert answer.json["payment"]["receipt"]["page_url"] == url
        assert words in (await read(shop, url)).text
    other = shop.request(700)
    reversed_one = (await till.pay(other)).json
    reversal = ReversalRequest(
        attempt_id=other.attempt_id,
        order_id=other.order_id,
        amount_minor=700,
        currency="EUR",
        entry_mode="qr_consumer",
    )
    await post(till, "/v1/reversals", reversal, other.attempt_id)
    assert "Given back in full" in (await read(shop, reversed_one["receipt"]["page_url"])).text


async def test_holds_captures_and_voids_are_told_apart(shop: Any, till: Any) -> None:
    held = (await till.pay(shop.request(2_000, capture=CaptureMode.MANUAL))).json
    assert "receipt" not in held, "nothing is printed of a hold that a page would be on"
    capture = CaptureRequest(capture_id=till.new_id(), amount_minor=1_500)
    captured = (
        await post(till, f"/v1/payments/{held['payment_id']}/captures", capture, capture.capture_id)
    ).json
    page = await read(shop, captured["receipt"]["page_url"])
    assert "15.00 EUR" in page.text
    assert "20.00 EUR" not in page.text
    other = (await till.pay(shop.request(2_000, capture=CaptureMode.MANUAL))).json
    void = VoidRequest(void_id=till.new_id())
    await post(till, f"/v1/payments/{other['payment_id']}/voids", void, void.void_id)
    name = ReceiptPages(shop.office.vault, PUBLIC_URL).url_of(other["payment_id"])
    assert "Cancelled, nothing was charged" in (await read(shop, str(name))).text


async def test_in_chinese_by_the_browser_or_by_the_switch(shop: Any, till: Any) -> None:
    url = (await till.pay(shop.request(1_250))).json["receipt"]["page_url"]
    page = await read(shop, url, **{"Accept-Language": "zh-CN,en;q=0.5"})
    assert "已付款" in page.text
    assert ("html", "lang", "zh-Hans") in page.attributes
    assert "已付款" in (await read(shop, url + "?lang=zh-Hans")).text
    assert "Paid" in (await read(shop, url + "?lang=en&utm_source=chat", **{"Accept-Language": "en"})).text
    links = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert links == {"?lang=en", "?lang=zh-Hans"}


async def test_it_loads_nothing_runs_nothing_and_is_kept_nowhere(shop: Any, till: Any) -> None:
    answer = await get(shop, (await till.pay(shop.request(1_250))).json["receipt"]["page_url"])
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    reader = Reader()
    reader.feed(answer.body.decode())
    assert not {"script", "img", "link", "iframe", "form", "object"} & set(reader.tags)
    assert not re.search(r"https?://|url\(|@import", answer.body.decode())
    assert not [name for _, name, _ in reader.attributes if name.startswith("on") or name in ("src", "style")]


async def test_a_name_that_was_never_given_is_answered_like_any_other(shop: Any, till: Any) -> None:
    paid = (await till.pay(shop.request(1_250))).json
    name = paid["receipt"]["page_url"].rpartition("/")[2]
    forged = name[:-1] + ("0" if name[-1] != "0" else "1")
    unknown = till.new_id() + name[26:]
    bodies = set()
    for wrong in (forged, unknown, "x", paid["payment_id"], name.lower()):
        answer = await till.send("GET", f"/r/{wrong}")
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        bodies.add(answer.body)
    assert len(bodies) == 1
    assert "There is no such receipt." in bodies.pop().decode()


async def test_pages_have_a_bound_and_wrong_names_use_up_none_of_it(shop: Any, till: Any) -> None:
    url = (await till.pay(shop.request(1_250))).json["receipt"]["page_url"]
    for _ in range(PAGES_AT_ONCE_MAX + 5):
        assert (await till.send("GET", "/r/x")).status == 404
    for _ in range(PAGES_AT_ONCE_MAX):
        assert (await get(shop, url)).status == 200
    answer = await get(shop, url)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "Too many at this moment." in answer.body.decode()
    assert (await till.pay(shop.request(100))).status == 201, "payments are not held up by pages"


async def test_an_answer_that_is_repeated_names_the_same_page(shop: Any, till: Any) -> None:
    request = shop.request(1_250)
    first, again = await till.pay(request), await till.pay(request)
    assert first.body == again.body
