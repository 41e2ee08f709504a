"""A counter before a real browser: real gateway, real daemon, a simulated phone on a radio, and Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy
import zxingcpp
from axe_playwright_python.async_playwright import Axe
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.office import open_office
from simulators.cards.ntag424_card import Ntag424Card
from simulators.fields.udp_radio import UdpRadio
from simulators.networks.gateway_line import GatewayLine, LineState, Moment
from simulators.phones.phone import Phone
from simulators.phones.wallet_app import WalletApp, exchange_over
from simulators.seeds import draw_private_key
from simulators.world.belongings import CardKeys, draw_uid_of, make_ntag_card
from tests.acceptance.faults.shopfront import Shopfront, open_shopfront
from wire.messages.base import dump_message
from wire.messages.intents import IntentView
from wire.messages.offline import CredentialRequest
from wire.messages.staff import StaffRole, StaffWord
from wire.messages.till_page import PageKind, PageLink, PageLinkRequest

SEED: Final = 20261129
CHROMIUM: Final[str | None] = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
CHROMIUM_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS: Final = 15_000
ALLOWANCE_MINOR: Final = 5_000
HOLDER_PIN: Final = "2468"
STAFF_PIN: Final = "4711"
CASHIER_PIN: Final = "1234"
CARD_ASKED_ABOVE_MINOR: Final = 2_000
"""Above this the gateway wants the holder's link card itself, beside its link."""
CARD_KEYS: Final = CardKeys(batch=7, meta_key=bytes(range(16)), file_master=bytes(range(16, 32)))
TILL_SETTINGS: Final = """
[codes]
enabled = true
[sale]
answer_deadline_ms = 1500
[resolver]
retry_delay_ms = 200
retry_delay_ms_max = 500
[till_page]
catalogue = "CATALOGUE_PATH"
[offline]
enabled = true
bad_exchanges_to_leave = 2
good_exchanges_to_return = 1
slow_ms = 2000
probe_interval_ms = 200
sync_interval_ms = 1000
upload_retry_delay_ms = 50
upload_retry_delay_ms_max = 200
"""
GATEWAY_SETTINGS: Final = """
[offline]
enabled = true
device_total_units = 50
"""
CATALOGUE: Final = """
[[items]]
name = "Espresso"
name_zh = "浓缩咖啡"
price = "2.20"
tax_basis_points = 1000
group = "Drinks"
group_zh = "饮品"
[[items]]
name = "Flat white"
name_zh = "澳白"
price = "3.60"
tax_basis_points = 1000
group = "Drinks"
group_zh = "饮品"
[[items]]
name = "Oolong tea"
name_zh = "乌龙茶"
price = "3.10"
tax_basis_points = 1000
group = "Drinks"
group_zh = "饮品"
[[items]]
name = "Apple juice"
name_zh = "苹果汁"
price = "2.90"
tax_basis_points = 1000
group = "Drinks"
group_zh = "饮品"
[[items]]
name = "Croissant"
name_zh = "羊角面包"
price = "1.80"
tax_basis_points = 1000
group = "Bakery"
group_zh = "面包"
[[items]]
name = "Sourdough loaf"
name_zh = "酸面包"
price = "5.40"
tax_basis_points = 1000
group = "Bakery"
group_zh = "面包"
"""

# What a page must be able to do without: it counts what a browser was told to play.
LISTEN_TO_TONES: Final = """
window.tones = [];
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (when) {
  window.tones.push([this.type, Math.round(this.frequency.value)]);
  return start.call(this, when);
};
"""


@dataclass(frozen=True)
class _Staff:
    manager_id: str
    cashier_id: str
    tag: Ntag424Card
    """The manager's."""


@dataclass
class Counter:
    """What a browser test works with."""

    shopfront: Shopfront
    radio: UdpRadio
    browser: Browser
    staff: _Staff
    card: Ntag424Card
    """The holder's link card."""
    contexts: list[BrowserContext] = field(default_factory=list)
    foreign_requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """What a page's script broke on, or the browser's console called an error."""

    @property
    def line(self) -> GatewayLine:
        """The line between till and gateway."""
        return self.shopfront.line

    @property
    def url(self) -> str:
        """Where the till's pages are."""
        return self.shopfront.till.url

    async def make_link(self, page: PageKind = PageKind.TILL) -> PageLink:
        """Ask the daemon for a link, as `tapscan-terminal page` does."""
        body = dump_message(PageLinkRequest(page=page))
        return msgspec.json.decode(
            await self.shopfront.till.call("POST", "/v1/page-links", body), type=PageLink
        )

    async def open(
        self,
        *,
        page: PageKind = PageKind.TILL,
        language: str = "en",
        width: int = 1280,
        height: int = 800,
        scale: float = 1,
        signed_in: bool = True,
    ) -> Page:
        """Open a page in a browser of its own, by a link, and return it once it is there."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            locale="zh-CN" if language == "zh-Hans" else "en-GB",
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        self.contexts.append(context)
        await context.add_init_script(LISTEN_TO_TONES)
        await context.add_init_script(f"localStorage.setItem('tapscan.language', '{language}')")
        opened = await context.new_page()
        opened.on("request", self._note_request)
        opened.on("pageerror", lambda error: self.complaints.append(str(error)))
        if signed_in:
            await self.sign_in()
        link = await self.make_link(page)
        await opened.goto(link.urls[0])
        await opened.wait_for_selector("#live[data-state]" if page is PageKind.TILL else "#main[data-state]")
        return opened

    def tap(self) -> None:
        """Hold the holder's phone to the reader, and leave it there."""
        self.radio.present(self.shopfront.phone.payment_card())

    def lose_the_answer(self) -> None:
        """Lose the answer to the next attempt, and every other one until the line carries again."""
        # Not before: a till that hears nothing at all would go offline, and accept the tap itself.
        self.line.strike_once(Moment.WHILE_IT_IS_DECIDED, lambda: self.line.set(LineState.LOSES_ANSWERS))

    def take_away(self) -> None:
        """Take away what is held to the reader."""
        self.radio.remove()

    def make_stranger(self) -> Phone:
        """Return a phone that no wallet knows."""
        return Phone(
            draw_private_key(self.shopfront.rng), rng=self.shopfront.rng, token_pan="4111111111111111"
        )

    @property
    def wallet(self) -> WalletApp:
        """What the holder's phone asks of the gateway."""
        return WalletApp(
            exchange_over(self.shopfront.http),
            self.line.url,
            self.shopfront.phone_key,
            now_ms=self.shopfront.now_ms,
            entropy=self.shopfront.rng.randbytes,
        )

    async def confirm_on_phone(self) -> None:
        """Let the holder say yes, on the phone, to the one payment that waits."""
        (waiting,) = await self.wallet.list_waiting()
        await self.wallet.decide(waiting, agreed=True)

    async def pay_code(self, text: str) -> None:
        """Scan the till's code with the holder's wallet and pay it."""
        view = await self.wallet.scan(text)
        assert isinstance(view, IntentView)
        await self.wallet.pay_intent(view, self.shopfront.phone)

    async def sign_in(self) -> None:
        """Let the manager work here."""
        known = (await self.shopfront.till.read_json("/v1/staff")).get("signed_in")
        if known is None or known["staff_id"] != self.staff.manager_id:
            word = StaffWord(staff_id=self.staff.manager_id, pin=STAFF_PIN)
            await self.shopfront.till.call("POST", "/v1/staff/session", dump_message(word))

    async def sign_out(self) -> None:
        """Let nobody work here."""
        await self.shopfront.till.call("DELETE", "/v1/staff/session")

    async def hire(self, name: str) -> None:
        """Let one more cashier work at the shop; a till that runs learns of it in its own time."""
        async with open_office(self.shopfront.gateway.config, {}, os.urandom) as office:
            (merchant,) = await office.store.list_merchants("")
            await office.staff.add_staff(
                merchant.merchant_id, name, StaffRole.CASHIER, CASHIER_PIN, now_ms=self.shopfront.now_ms()
            )

    async def give_staff_pin(self, page: Page, pin: str = STAFF_PIN) -> None:
        """Fill in who answers for it, in a dialog."""
        await page.get_by_label("Name").select_option(self.staff.manager_id)
        await page.get_by_label("PIN").fill(pin)

    async def presentation_count(self) -> int:
        """Return what the till's reader has handed over so far."""
        return sum(one.presentation_count for one in (await self.shopfront.till.find_daemon()).readers)

    async def armed_readers(self) -> list[str]:
        """Return the readers that would take a card or code now."""
        return [one.path for one in (await self.shopfront.till.find_daemon()).readers if one.is_armed]

    async def restart_till(self) -> None:
        """Start the daemon again on its folder, at the address it had."""
        await self.shopfront.till.start()
        await self.shopfront.wait_for_readers()
        async with asyncio.timeout(WAIT_MS / 1000):
            while not (await self.shopfront.till.read_json("/v1/staff"))["members"]:
                continue

    async def settle(self) -> None:
        """Leave the till as a test finds it: a line that carries, nothing at the reader, no open sale."""
        self.line.set(LineState.CARRIES)
        self.take_away()
        for context in self.contexts:
            await context.close()
        self.contexts.clear()
        async with asyncio.timeout(WAIT_MS / 1000):
            while (sale := (await self.shopfront.till.read_json("/v1/page")).get("sale")) is not None:
                if sale["state"] not in ("armed", "reading", "submitting", "confirming"):
                    break
                with contextlib.suppress(AssertionError):
                    await self.shopfront.till.call("DELETE", f"/v1/sales/{sale['sale_id']}")
            while not await self._is_calm():
                continue

    async def _is_calm(self) -> bool:
        daemon = await self.shopfront.till.find_daemon()
        is_online = daemon.offline is None or daemon.offline.mode == "online"
        return is_online and daemon.gateway_reachable and daemon.unresolved_attempt_count == 0

    async def unresolved_count(self) -> int:
        """Return how many attempts have no outcome."""
        return (await self.shopfront.till.find_daemon()).unresolved_attempt_count

    def _note_request(self, request: object) -> None:
        address: str = request.url  # type: ignore[attr-defined]
        if not address.startswith((self.url, "data:", "blob:")):
            self.foreign_requests.append(address)


@contextlib.asynccontextmanager
async def open_counter(folder: Path, merchant_name: str = "Mill Lane Bakery") -> AsyncIterator[Counter]:
    """Start everything, and end it after the block."""
    radio = UdpRadio()
    radio.start()
    catalogue = folder / "catalogue.toml"
    catalogue.write_text(CATALOGUE, encoding="utf-8")
    try:
        async with (
            open_shopfront(
                folder,
                SEED,
                [radio.reader_path],
                gateway_settings=GATEWAY_SETTINGS,
                till_port=_find_port(),
                merchant_name=merchant_name,
                till_settings=TILL_SETTINGS.replace("CATALOGUE_PATH", str(catalogue)),
            ) as shopfront,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=list(CHROMIUM_ARGUMENTS), headless=True
            )
            counter = Counter(shopfront, radio, browser, await _hire(shopfront), await _issue_card(shopfront))
            await _give_allowance(counter)
            # A till learns who works at the shop when it starts.
            await shopfront.till.stop()
            await counter.restart_till()
            yield counter
            await browser.close()
    finally:
        radio.stop()


def _find_port() -> int:
    """Return a port that is free now: a daemon that is started again must be where its pages are."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def read_code(page: Page) -> str:
    """Return what the code on a page says, as a camera before it reads it."""
    image = page.locator(".code img")
    await image.evaluate("image => image.decode()")
    picture = await image.screenshot()
    (code,) = zxingcpp.read_barcodes(numpy.asarray(Image.open(io.BytesIO(picture)).convert("L")))
    return code.text


async def serious_findings(page: Page) -> list[str]:
    """Return what axe calls serious or critical about a page as it stands."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(Axe().axe_script)
    violations = await page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"
    )
    return [
        f"{one['id']}: {node['html']} {node.get('failureSummary', '')}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


async def _hire(shopfront: Shopfront) -> _Staff:
    """Let a manager with a tag and a cashier work at the shop, and set what the shop allows."""
    now_ms = shopfront.now_ms()
    async with open_office(shopfront.gateway.config, {}, os.urandom) as office:
        (merchant,) = await office.store.list_merchants("")
        mia = await office.staff.add_staff(
            merchant.merchant_id, "Mia", StaffRole.MANAGER, STAFF_PIN, now_ms=now_ms
        )
        ben = await office.staff.add_staff(
            merchant.merchant_id, "Ben", StaffRole.CASHIER, CASHIER_PIN, now_ms=now_ms
        )
        await office.holders.add_card_key_batch(
            CARD_KEYS.batch, CARD_KEYS.meta_key, CARD_KEYS.file_master, now_ms=now_ms
        )
        tag = make_ntag_card(SEED, "mia-tag", CARD_KEYS)
        await office.staff.add_tag(mia.staff_id, CARD_KEYS.batch, draw_uid_of(SEED, "mia-tag"), now_ms=now_ms)
        terminal_id = (await shopfront.till.find_daemon()).terminal_id
        await office.store.set_refund_limit(terminal_id, 50_000)
        await office.store.set_tip_margin(merchant.merchant_id, 2_500)
        await office.holders.set_pin(shopfront.wallet_id, HOLDER_PIN, office.pins)
    return _Staff(mia.staff_id, ben.staff_id, tag)


async def _issue_card(shopfront: Shopfront) -> Ntag424Card:
    """Give the holder a link card beside the phone."""
    async with open_office(shopfront.gateway.config, {}, os.urandom) as office:
        new = NewInstrument(
            shopfront.wallet_id,
            InstrumentKind.NTAG424_CARD,
            uid=draw_uid_of(SEED, "ana-card"),
            batch_number=CARD_KEYS.batch,
        )
        issued = await office.holders.add_instrument(new, now_ms=shopfront.now_ms())
        await office.store.set_confirm_above(issued.instrument_id, CARD_ASKED_ABOVE_MINOR)
    return make_ntag_card(SEED, "ana-card", CARD_KEYS)


async def _give_allowance(counter: Counter) -> None:
    wallet = counter.wallet
    request = CredentialRequest(credential_id=wallet.new_id(), allowance_minor=ALLOWANCE_MINOR)
    counter.shopfront.phone.hold_credential((await wallet.ask_credential(request)).credential)
