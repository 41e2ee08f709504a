"""A till's software, as the demo plays it: sales by HTTP, what happens to them by server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp

from simulators.errors import ProcessFailed
from wire.messages.base import dump_message, parse_message
from wire.messages.till import DaemonView, SaleEvent, SaleEventKind, SaleRequest, SaleView
from wire.messages.till_page import PageLink, PageLinkRequest

EVENTS_MAX: Final = 1_000
"""Most events of one till that wait to be read; more means that nobody reads them."""
JSON_TYPE: Final = "application/json"
REPLY_TIMEOUT_S: Final = 15.0
RESUME_DELAY_S: Final = 0.2
_SALE_EVENTS: Final = frozenset(kind.value for kind in SaleEventKind)


class TillClient:
    """One daemon's local interface."""

    def __init__(
        self, name: str, url: str, session: aiohttp.ClientSession, *, access_key: str | None = None
    ) -> None:
        """Talk to the daemon at `url`, with the key it asks for if it asks for one."""
        self.name = name
        self.url = url.rstrip("/")
        self.events: asyncio.Queue[SaleEvent] = asyncio.Queue(EVENTS_MAX)
        self._session = session
        self._key = {"Authorization": f"Bearer {access_key}"} if access_key is not None else {}
        self._last_sequence = 0

    @property
    def has_key(self) -> bool:
        """Whether this till asks for an access key."""
        return bool(self._key)

    async def start_sale(self, amount_minor: int, deadline_ms: int) -> SaleView:
        """Ask for a sale; returns when its readers are armed.

        Raises:
            ProcessFailed: the daemon refused, or did not answer.
        """
        request = SaleRequest(amount_minor=amount_minor, deadline_ms=deadline_ms)
        return parse_message(await self._call("POST", "/v1/sales", dump_message(request)), SaleView)

    async def find_sale(self, sale_id: str) -> SaleView:
        """Return where a sale stands."""
        return parse_message(await self._call("GET", f"/v1/sales/{sale_id}"), SaleView)

    async def cancel_sale(self, sale_id: str) -> None:
        """Give up a sale; one that is over already is no error."""
        await self._call("DELETE", f"/v1/sales/{sale_id}", missing_ok=True)

    async def read_receipt(self, sale_id: str) -> str:
        """Return the receipt of an approved sale as text."""
        return (await self._call("GET", f"/v1/sales/{sale_id}/receipt")).decode("utf-8")

    async def find_daemon(self) -> DaemonView:
        """Return who the daemon is and how its readers are."""
        return parse_message(await self._call("GET", "/v1/daemon"), DaemonView)

    async def make_page_link(self) -> PageLink:
        """Return a link to this till's page; it lets one browser in, once."""
        body = dump_message(PageLinkRequest())
        return parse_message(await self._call("POST", "/v1/page-links", body), PageLink)

    async def watch(self) -> None:
        """Put every event into `events` until cancelled; a lost connection is resumed where it broke."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self._watch_once()
            await asyncio.sleep(RESUME_DELAY_S)

    async def _watch_once(self) -> None:
        # Position 0 is before the daemon's first event, so none is missed while this connects.
        headers = {"Last-Event-ID": str(self._last_sequence), **self._key}
        timeout = aiohttp.ClientTimeout(total=None)
        url = f"{self.url}/v1/events"
        async with self._session.get(url, headers=headers, timeout=timeout) as answer:
            answer.raise_for_status()
            async for name, data in _read_events(answer.content):
                if name not in _SALE_EVENTS:
                    continue
                event = parse_message(data, SaleEvent)
                self._last_sequence = event.sequence
                self.events.put_nowait(event)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        with_key: bool = True,
    ) -> tuple[int, bytes]:
        """Send a request as it is, and return status and body of whatever is answered.

        Args:
            headers: instead of the content type that belongs to a body.
            with_key: whether to send the access key.

        Raises:
            ProcessFailed: no answer.
        """
        sent = (
            dict(headers) if headers is not None else {"Content-Type": JSON_TYPE} if body is not None else {}
        )
        sent |= self._key if with_key else {}
        timeout = aiohttp.ClientTimeout(total=REPLY_TIMEOUT_S)
        try:
            async with self._session.request(
                method, self.url + path, data=body, headers=sent, timeout=timeout
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProcessFailed(f"{self.name}: {method} {path}: {type(error).__name__}") from None

    async def open_watcher(self) -> tuple[int, aiohttp.ClientResponse]:
        """Begin to watch events as one screen more, and return the status; the caller closes the answer."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REPLY_TIMEOUT_S)
        answer = await self._session.get(f"{self.url}/v1/events", headers=self._key, timeout=timeout)
        return answer.status, answer

    async def _call(
        self, method: str, path: str, body: bytes | None = None, *, missing_ok: bool = False
    ) -> bytes:
        status, content = await self.send(method, path, body)
        if status >= 400 and not (missing_ok and status in (404, 409)):
            raise ProcessFailed(f"{self.name}: {method} {path}: {status} {content[:300]!r}")
        return content


async def _read_events(stream: aiohttp.StreamReader) -> AsyncIterator[tuple[str, bytes]]:
    """Yield name and data of each server-sent event (HTML standard, 9.2.6); ids are in the data too."""
    name, data = "", list[bytes]()
    async for raw in stream:
        line = raw.rstrip(b"\r\n")
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
        elif not line and data:
            yield name, b"\n".join(data)
            data.clear()
