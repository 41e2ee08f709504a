"""The pages' addresses: who is let in where, with what headers, on loopback and on the network."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from terminal.config import (
    CodeSettings,
    PrinterSettings,
    TerminalConfig,
    TillApiSettings,
    TillPageSettings,
    parse_config,
)
from terminal.errors import ConfigurationError
from terminal.till_page.door import LINKS_MAX, PageDoor
from tests.terminal.conftest import ENROLMENT, GatewayStandIn, Till, make_presentation, now_ms, until
from wire.messages.base import dump_message, parse_message
from wire.messages.problem import Problem
from wire.messages.till import SaleEventKind, SaleState
from wire.messages.till_page import DisplayView, PageEntry, PageKind, PageLink, PageView

StartTill = Callable[..., Awaitable[Till]]
STATIC = Path(__file__).parents[3] / "terminal" / "till_page" / "static"
KEY = "correct-horse-battery"
BROWSER = {"Sec-Fetch-Site": "same-origin"}
COOKIE = f"tapscan_till_{ENROLMENT.terminal_id}"


async def make_link(till: Till, page: PageKind = PageKind.TILL) -> PageLink:
    async with till.session.post("/v1/page-links", data=b'{"page": "%s"}' % page.value.encode()) as response:
        assert response.status == 201
        return parse_message(await response.read(), PageLink)


async def enter(till: Till, page: PageKind = PageKind.TILL, base: str | None = None) -> str:
    """Let a browser in, and return its cookie's value."""
    link = (await make_link(till, page)).urls[0].partition("#")[2]
    async with (
        aiohttp.ClientSession(base or till.url) as browser,
        browser.post(
            "/v1/page-sessions",
            data=dump_message(PageEntry(link=link)),
            headers=BROWSER | {"Content-Type": "application/json"},
            ssl=False,
        ) as response,
    ):
        assert response.status == 201, await response.text()
        return response.cookies[COOKIE].value


async def status_of(url: str, path: str, *, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Ask as a browser would and return the status, and the problem's code if there is one."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(url) as browser,
        browser.request(method, path, headers=BROWSER | names, ssl=False) as response,
    ):
        body = await response.read()
        is_problem = response.content_type == "application/problem+json"
        return response.status, parse_message(body, Problem).code if is_problem else ""


async def test_pages_are_there_for_everybody_and_hold_nothing(start_till: StartTill) -> None:
    till = await start_till()
    async with aiohttp.ClientSession(till.url) as browser:
        for path in ("/", "/customer", "/enter"):
            async with browser.get(path, headers=BROWSER) as response:
                text = await response.text()
                assert response.status == 200
                assert response.content_type == "text/html"
                assert ENROLMENT.merchant_name not in text
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|\bstyle=", text), "nothing inline"


async def test_every_file_is_served_with_its_type_and_only_those(start_till: StartTill) -> None:
    till = await start_till()
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    async with aiohttp.ClientSession(till.url) as browser:
        for file in STATIC.iterdir():
            async with browser.get(f"/static/{file.name}") as response:
                assert (response.status, response.content_type) == (200, types[file.suffix])
                tag = response.headers["ETag"]
            async with browser.get(f"/static/{file.name}", headers={"If-None-Match": tag}) as response:
                assert response.status == 304
        for name in ("nothing.js", "..%2Froutes.py", "%2e%2e/door.py"):
            async with browser.get(f"/static/{name}") as response:
                assert response.status == 404


async def test_browser_needs_its_cookie_and_till_software_does_not(start_till: StartTill) -> None:
    till = await start_till()
    assert await status_of(till.url, "/v1/daemon") == (401, "page_link_needed")
    assert await status_of(till.url, "/v1/daemon", Cookie=f"{COOKIE}={'x' * 43}") == (401, "page_link_needed")
    cookie = await enter(till)
    assert await status_of(till.url, "/v1/daemon", Cookie=f"{COOKIE}={cookie}") == (200, "")
    # Another till on this machine has a cookie of its own.
    assert (await status_of(till.url, "/v1/daemon", Cookie=f"tapscan_till_TERM0002={cookie}"))[0] == 401
    assert (await till.find_daemon()).terminal_id == ENROLMENT.terminal_id


@pytest.mark.parametrize("round_number", range(8))
def test_browsers_that_came_in_at_once_are_all_known_after_a_restart(
    tmp_path: Path, round_number: int
) -> None:
    # Threads decide in which order it happens: several rounds, since one may go well by chance.
    door = PageDoor(tmp_path, ENROLMENT.terminal_id, now_ms=now_ms, entropy=os.urandom)
    links = [door.make_link(PageKind.TILL)[0] for _ in range(LINKS_MAX)]
    with ThreadPoolExecutor(LINKS_MAX) as browsers:
        cookies = [cookie for _, cookie in browsers.map(door.enter, links)]
    again = PageDoor(tmp_path, ENROLMENT.terminal_id, now_ms=now_ms, entropy=os.urandom)
    assert [again.find(cookie) for cookie in cookies] == [PageKind.TILL] * LINKS_MAX


async def test_cookie_lets_in_where_an_access_key_is_asked_for(start_till: StartTill) -> None:
    till = await start_till(till_api=TillApiSettings(port=0, access_key=KEY))
    cookie = await enter(till)
    assert await status_of(till.url, "/v1/daemon", Cookie=f"{COOKIE}={cookie}") == (200, "")
    # A key in a browser's hands is no way in: pages have their cookie.
    assert (await status_of(till.url, "/v1/daemon", Authorization=f"Bearer {KEY}"))[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
async def test_another_origin_is_refused_even_with_the_cookie(
    start_till: StartTill, headers: dict[str, str]
) -> None:
    till = await start_till()
    cookie = await enter(till)
    for method, path in (("POST", "/v1/sales"), ("GET", "/v1/payments"), ("DELETE", "/v1/page-sessions")):
        refused = await status_of(till.url, path, method=method, Cookie=f"{COOKIE}={cookie}", **headers)
        assert refused == (403, "origin_not_allowed")
    assert not till.readers.is_armed


async def test_customers_display_may_watch_and_nothing_else(start_till: StartTill) -> None:
    till = await start_till()
    cookie = f"{COOKIE}={await enter(till, PageKind.CUSTOMER)}"
    for method, path in (
        ("GET", "/v1/page"),
        ("GET", "/v1/events"),
        ("GET", "/v1/payments"),
        ("POST", "/v1/sales"),
        ("POST", "/v1/page-links"),
        ("POST", "/v1/display/events"),
        ("DELETE", "/v1/page-sessions"),
    ):
        assert (await status_of(till.url, path, method=method, Cookie=cookie))[0] == 401, path


async def read_display(response: aiohttp.ClientResponse) -> DisplayView:
    async with asyncio.timeout(8):
        async for line in response.content:
            if line.startswith(b"data: "):
                return parse_message(line[6:], DisplayView)
    raise AssertionError("the display's stream ended")


async def test_display_is_told_the_sale_and_not_the_payer(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    cookie = f"{COOKIE}={await enter(till, PageKind.CUSTOMER)}"
    async with (
        aiohttp.ClientSession(till.url) as browser,
        browser.get("/v1/display/events", headers=BROWSER | {"Cookie": cookie}) as response,
    ):
        view = await read_display(response)
        assert (view.merchant_name, view.sale_id, view.state) == (ENROLMENT.merchant_name, None, None)
        gateway.decline_codes.append("insufficient_funds")
        await till.start_sale(order={"amount_minor": 1250, "lines": [{"name": "Tea", "total_minor": 1250}]})
        till.readers.present(make_presentation())
        while not view.must_present_again:
            view = await read_display(response)
        assert (view.state, [line.name for line in view.lines]) == (SaleState.ARMED, ["Tea"])
        till.readers.present(make_presentation(2))
        while view.state is not SaleState.APPROVED:
            view = await read_display(response)
        told = dump_message(view).decode()
        assert "4821" not in told, "the instrument's label"
        assert "insufficient" not in told


async def test_page_starts_from_what_is_and_from_the_right_event(start_till: StartTill) -> None:
    till = await start_till()
    sale = await till.start_sale()
    await till.wait_for(SaleEventKind.ARMED)
    async with till.session.get("/v1/page") as response:
        view = parse_message(await response.read(), PageView)
    assert (view.currency, view.exponent, view.terminal_id) == ("EUR", 2, ENROLMENT.terminal_id)
    assert view.sale is not None
    assert (view.sale.sale_id, view.sale.state) == (sale.sale_id, SaleState.ARMED)
    assert abs(view.now_ms - now_ms()) < 5_000
    till.readers.notice()
    assert (await till.wait_for(SaleEventKind.READING)).sequence == view.sequence + 1


async def test_code_is_drawn_while_it_can_be_scanned(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till(codes=CodeSettings(enabled=True))
    assert (await till.refusal_of("GET", "/v1/display/code.svg")).code == "not_found"
    sale = await till.start_sale()
    await till.wait_for(SaleEventKind.CODE_SHOWN)
    async with till.session.get("/v1/display/code.svg") as response:
        assert response.content_type == "image/svg+xml"
        assert "<path" in await response.text()
    await till.session.delete(f"/v1/sales/{sale.sale_id}")
    assert (await till.refusal_of("GET", "/v1/display/code.svg")).code == "not_found"


async def test_receipt_of_a_payment_in_either_language_and_no_printer_is_said(start_till: StartTill) -> None:
    till = await start_till()
    await till.start_sale()
    till.readers.present(make_presentation())
    answer = (await till.wait_for(SaleEventKind.APPROVED)).sale.answer
    assert answer is not None
    path = f"/v1/payments/{answer.payment_id}"
    async with asyncio.timeout(8):
        while (response := await till.session.get(f"{path}/receipt?language=zh-Hans")).status == 404:
            continue
    assert "已付款" in await response.text()
    assert (await till.refusal_of("POST", f"{path}/print")).code == "printer_unavailable"
    assert (await till.refusal_of("GET", "/v1/payments/nothing/receipt")).code == "not_found"


def make_certificate(folder: Path) -> TillPageSettings:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        builder.not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return TillPageSettings(
        host="127.0.0.1",
        port=0,
        name="localhost",
        certificate=str(folder / "cert.pem"),
        private_key=str(folder / "key.pem"),
    )


async def test_network_address_speaks_tls_and_lets_no_software_in(
    start_till: StartTill, tmp_path: Path
) -> None:
    till = await start_till(till_page=make_certificate(tmp_path))
    _, url = (await make_link(till)).urls
    base = url.partition("/enter#")[0]
    assert base.startswith("https://localhost:")
    cookie = f"{COOKIE}={await enter(till, base=base)}"
    assert await status_of(base, "/v1/daemon", Cookie=cookie) == (200, "")
    async with aiohttp.ClientSession(base) as software, software.get("/v1/daemon", ssl=False) as response:
        assert response.status == 401
    # A rebound name is refused; an address can't be rebound.
    assert (await status_of(base, "/", Host="evil.example"))[0] == 403
    assert (await status_of(base, "/", Host="192.0.2.7:8461"))[0] == 200
    assert (await status_of(till.url, "/", Host="192.0.2.7:8460"))[0] == 403


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[till_page]\nhost = "192.0.2.7"\n', "certificate"),
        ('[till_page]\nhost = "0.0.0.0"\nplain_http_allowed = true\n', "name"),
        ('[till_page]\nhost = "127.0.0.1"\ncertificate = "c.pem"\n', "together"),
        ('[till_page]\nname = "till one"\n', "name"),
    ],
)
def test_settings_that_would_expose_the_till_are_refused(text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parse_config(b'data_folder = "x"\n' + text.encode(), source="terminal.toml")


def test_plain_http_is_served_where_the_merchant_says_so() -> None:
    text = b'data_folder = "x"\n[till_page]\nhost = "192.0.2.7"\nplain_http_allowed = true\n'
    config = parse_config(text, source="terminal.toml")
    assert isinstance(config, TerminalConfig)
    assert config.till_page.port == 8461


async def test_certificate_that_is_none_is_named(start_till: StartTill, tmp_path: Path) -> None:
    settings = make_certificate(tmp_path)
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match="certificate"):
        await start_till(till_page=settings)


def test_both_languages_have_the_same_words_with_the_same_gaps() -> None:
    text = (STATIC / "words.js").read_text(encoding="utf-8")
    english, chinese = text.split('"zh-Hans": {')
    rows = re.compile(r'^    (\w+):\s*"((?:[^"\\]|\\.)*)",$', re.MULTILINE)
    in_english, in_chinese = dict(rows.findall(english)), dict(rows.findall(chinese))
    assert len(in_english) > 150
    assert in_english.keys() == in_chinese.keys()
    gaps = re.compile(r"\{(\w+)\}")
    for key, words in in_english.items():
        assert set(gaps.findall(words)) == set(gaps.findall(in_chinese[key])), key


def test_every_word_that_is_asked_for_is_there_and_no_other() -> None:
    defined = set(
        re.findall(r"^    (\w+):", (STATIC / "words.js").read_text().split('"zh-Hans": {')[0], re.MULTILINE)
    )
    scripts = "".join(path.read_text() for path in STATIC.glob("*.js") if path.name != "words.js")
    asked = set(re.findall(r"\bt\(\"(\w+)\"", scripts))
    assert asked <= defined
    # Some are put together from a state, or stand in tables and choices.
    quoted = set(re.findall(r'"(\w+)"', scripts))
    made = re.compile(r"(view|state|mode|stage|reader|result|bearer|role)_")
    states = {state.value for state in SaleState} | {"language_name"}
    assert {key for key in defined - asked - quoted - states if not made.match(key)} == set()


async def test_receipt_that_did_not_print_is_printed_when_a_page_asks(
    start_till: StartTill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = tmp_path / "printer" / "lp0"
    till = await start_till(printer=PrinterSettings(device=str(paper)))
    async with till.session.get("/v1/page") as response:
        assert parse_message(await response.read(), PageView).has_printer
    sale = await till.start_sale()
    till.readers.present(make_presentation())
    await till.wait_for(SaleEventKind.APPROVED)
    told = ""
    while "slip_not_printed" not in told:
        told += capsys.readouterr().out
        await asyncio.sleep(0)
    plug_in(paper)
    async with till.session.post(f"/v1/sales/{sale.sale_id}/print") as response:
        assert response.status == 204
    await until(lambda: paper.stat().st_size > 0)


def plug_in(paper: Path) -> None:
    paper.parent.mkdir()
    paper.touch()
