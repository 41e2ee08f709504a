"""The other end of the till's interface: how a command asks the running daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import aiohttp

from terminal.config import TerminalConfig, load_config
from terminal.data_folder import find_daemon_address
from terminal.errors import ConfigurationError, SaleRefused
from wire.errors import WireError
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import (
    CaptureRequest,
    PaymentAnswer,
    RefundAnswer,
    RefundRequest,
    VoidRequest,
)
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem
from wire.messages.shifts import ShiftView
from wire.messages.till import (
    DaemonView,
    OfflineDrained,
    OfflineView,
    PinEntry,
    SaleEvent,
    SaleEventKind,
    SaleRequest,
    SaleView,
    TillPayment,
)
from wire.messages.till_page import PageKind, PageLink, PageLinkRequest

REPLY_BYTES_MAX: Final = 256 * 1024
REPLY_TIMEOUT_S: Final = 10.0
PIN_TIMEOUT_S: Final = 130.0
"""The daemon's own patience with the gateway, `sale.answer_deadline_ms`, is two minutes at most."""
DRAIN_TIMEOUT_S: Final = 600.0
SILENCE_S_MAX: Final = 30.0
"""The daemon sends a heartbeat every ten seconds; after this long without one it is gone."""

T = TypeVar("T")

_SALE_EVENTS: Final = frozenset(kind.value for kind in SaleEventKind)


def find_client(config_path: Path) -> TillClient:
    """Return a connection to the daemon of a configuration file.

    Raises:
        ConfigurationError: the file is wrong, or the daemon is not running.
    """
    return client_of(load_config(config_path))


def client_of(config: TerminalConfig) -> TillClient:
    """Return a connection to a configuration's daemon; raises as `find_client`."""
    url = find_daemon_address(config.data_path)
    if url is None:
        raise ConfigurationError("the daemon is not running: start `tapscan-terminal run`")
    return TillClient(url, config.till_api.access_key)


class DaemonGone(SaleRefused):
    """The daemon does not answer; `code` is `not_ready`."""

    def __init__(self) -> None:
        super().__init__("the daemon does not answer: is `tapscan-terminal run` running?", code="not_ready")


class TillClient:
    """One command's connection to the daemon; use as an async context manager."""

    def __init__(self, url: str, access_key: str | None) -> None:
        self._url = url
        self._headers = {} if access_key is None else {"Authorization": f"Bearer {access_key}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> TillClient:
        timeout = aiohttp.ClientTimeout(total=REPLY_TIMEOUT_S)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def start_sale(self, request: SaleRequest) -> SaleView:
        """Ask for a sale.

        Raises:
            SaleRefused: the daemon's problem, with its code. DaemonGone: no answer.
        """
        return _parse(await self._ask("POST", "/v1/sales", dump_message(request)), SaleView)

    async def find_sale(self, sale_id: str) -> SaleView:
        """Return a sale as it stands; errors as `start_sale`."""
        return _parse(await self._ask("GET", f"/v1/sales/{sale_id}"), SaleView)

    async def cancel_sale(self, sale_id: str) -> SaleView:
        """Cancel a sale; errors as `start_sale`."""
        return _parse(await self._ask("DELETE", f"/v1/sales/{sale_id}"), SaleView)

    async def enter_pin(self, sale_id: str, pin: str) -> SaleView:
        """Have a holder's PIN judged; errors as `start_sale`, with the gateway's code."""
        body = dump_message(PinEntry(pin=pin))
        return _parse(await self._ask("POST", f"/v1/sales/{sale_id}/pin", body, PIN_TIMEOUT_S), SaleView)

    async def reverse_sale(self, sale_id: str) -> SaleView:
        """Have a sale's attempt taken back whose outcome is unknown; errors as `start_sale`."""
        return _parse(await self._ask("POST", f"/v1/sales/{sale_id}/reverse", b""), SaleView)

    async def keep_sale(self, sale_id: str) -> SaleView:
        """Have a sale's attempt kept whose outcome is unknown; errors as `start_sale`."""
        return _parse(await self._ask("POST", f"/v1/sales/{sale_id}/keep", b""), SaleView)

    async def reverse_attempt(self, attempt_id: str) -> None:
        """Have an attempt taken back whose outcome is unknown; errors as `start_sale`."""
        await self._ask("POST", f"/v1/attempts/{attempt_id}/reverse", b"")

    async def keep_attempt(self, attempt_id: str) -> None:
        """Have an attempt kept whose outcome is unknown; errors as `start_sale`."""
        await self._ask("POST", f"/v1/attempts/{attempt_id}/keep", b"")

    async def find_receipt(self, sale_id: str) -> str:
        """Return an approved sale's receipt as text; errors as `start_sale`."""
        return (await self._ask("GET", f"/v1/sales/{sale_id}/receipt")).decode("utf-8")

    async def list_payments(self) -> list[TillPayment]:
        """Return the till's last payments; errors as `start_sale`."""
        return _parse(await self._ask("GET", "/v1/payments"), list[TillPayment])

    async def capture(self, payment_id: str, order: CaptureRequest) -> PaymentAnswer:
        """Charge a hold; errors as `start_sale`, with the gateway's code."""
        return _parse(await self._order(payment_id, "capture", order), PaymentAnswer)

    async def void(self, payment_id: str, order: VoidRequest) -> PaymentAnswer:
        """Let go of a payment that is not charged yet; errors as `capture`."""
        return _parse(await self._order(payment_id, "void", order), PaymentAnswer)

    async def refund(self, payment_id: str, order: RefundRequest) -> RefundAnswer:
        """Give money back; errors as `capture`."""
        return _parse(await self._order(payment_id, "refund", order), RefundAnswer)

    async def _order(self, payment_id: str, what: str, order: object) -> bytes:
        return await self._ask("POST", f"/v1/payments/{payment_id}/{what}", dump_message(order))

    async def open_shift(self) -> ShiftView:
        """Begin a shift; errors as `start_sale`."""
        return _parse(await self._ask("POST", "/v1/shifts", b""), ShiftView)

    async def close_shift(self) -> ShiftView:
        """End the open shift; errors as `start_sale`."""
        return _parse(await self._ask("POST", "/v1/shifts/close", b""), ShiftView)

    async def find_shift(self, what: str) -> ShiftView:
        """Return a shift: `current`, `last`, or by its id; errors as `start_sale`."""
        return _parse(await self._ask("GET", f"/v1/shifts/{what}"), ShiftView)

    async def find_shift_report(self, shift_id: str) -> str:
        """Return the slip of a shift as text; errors as `start_sale`."""
        return (await self._ask("GET", f"/v1/shifts/{shift_id}/report")).decode("utf-8")

    async def print_shift(self, shift_id: str) -> None:
        """Have the slip of a shift printed; errors as `start_sale`."""
        await self._ask("POST", f"/v1/shifts/{shift_id}/print", b"")

    async def find_offline(self) -> OfflineView:
        """Return how payments without a connection stand; errors as `start_sale`."""
        return _parse(await self._ask("GET", "/v1/offline"), OfflineView)

    async def drain_offline(self) -> OfflineDrained:
        """Have what was accepted offline handed in now; errors as `start_sale`."""
        return _parse(await self._ask("POST", "/v1/offline/drain", b"", DRAIN_TIMEOUT_S), OfflineDrained)

    async def make_page_link(self, page: PageKind) -> PageLink:
        """Return a link that lets one browser in; errors as `start_sale`."""
        body = dump_message(PageLinkRequest(page=page))
        return _parse(await self._ask("POST", "/v1/page-links", body), PageLink)

    async def find_daemon(self) -> DaemonView:
        """Return who the daemon is; errors as `start_sale`."""
        return _parse(await self._ask("GET", "/v1/daemon"), DaemonView)

    async def watch(self, after: int | None = None) -> AsyncGenerator[SaleEvent | None]:
        """Yield None once the daemon listens to us, then every event; ends when the daemon does.

        Args:
            after: the sequence of the last event seen, to go on from there.

        Raises:
            SaleRefused, DaemonGone: as `start_sale`.
        """
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S_MAX, sock_connect=REPLY_TIMEOUT_S)
        try:
            async with self._open().get(
                f"{self._url}/v1/events", headers=headers, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise _read_problem(response, await response.content.read(REPLY_BYTES_MAX))
                yield None
                name = ""
                async for line in response.content:
                    if line.startswith(b"event: "):
                        name = line[len(b"event: ") :].decode("utf-8", "replace").strip()
                    # What happens at the till outside a sale has other names.
                    elif line.startswith(b"data: ") and name in _SALE_EVENTS:
                        yield _parse(line[len(b"data: ") :], SaleEvent)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise DaemonGone from None

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, timeout_s: float = REPLY_TIMEOUT_S
    ) -> bytes:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._open().request(
                method,
                self._url + path,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                content = await response.content.read(REPLY_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise DaemonGone from None
        if response.status >= 400:
            raise _read_problem(response, content)
        return content

    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "enter the client before using it"
        return self._session


def _parse(body: bytes, kind: type[T]) -> T:
    try:
        return parse_message(body, kind)
    except WireError:
        # Another program listens where the daemon did, or the daemon is of another version.
        raise DaemonGone from None


def _read_problem(response: aiohttp.ClientResponse, body: bytes) -> SaleRefused:
    if response.content_type != PROBLEM_CONTENT_TYPE:
        return DaemonGone()
    return SaleRefused(code=_parse(body, Problem).code)
