"""Orders to a world process over its control interface: the hands of the demo and of `tapscan-sim fault`."""

from __future__ import annotations

from typing import Final, TypeVar

import aiohttp
import msgspec

from simulators.errors import ProcessFailed
from simulators.world.messages import (
    AllowanceOrder,
    CloneOrder,
    Decided,
    DecisionOrder,
    Done,
    FaultOrder,
    Inventory,
    PayOrder,
    PresentOrder,
    ScanOrder,
    ShowOrder,
)
from wire.errors import WireError
from wire.messages.base import Message, dump_message, parse_message
from wire.messages.problem import Problem

REPLY_TIMEOUT_S: Final = 15.0

T = TypeVar("T")


class WorldClient:
    """One world process."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        """Talk to the control interface at `url`."""
        self._url = url.rstrip("/")
        self._session = session

    async def list_everything(self) -> Inventory:
        """Return devices, things and keys."""
        return await self._call("GET", "/v1/world", None, Inventory)

    async def present(self, field: str, order: PresentOrder) -> None:
        """Put a card on a field."""
        await self._call("POST", f"/v1/fields/{field}/present", order, Done)

    async def remove(self, field: str) -> None:
        """Take away what lies on a field."""
        await self._call("POST", f"/v1/fields/{field}/remove", None, Done)

    async def show(self, screen: str, order: ShowOrder) -> None:
        """Hold a phone before a camera."""
        await self._call("POST", f"/v1/screens/{screen}/show", order, Done)

    async def blank(self, screen: str) -> None:
        """Take the phone away from a camera."""
        await self._call("POST", f"/v1/screens/{screen}/blank", None, Done)

    async def scan(self, gun: str, order: ScanOrder) -> None:
        """Pull a scanner gun's trigger."""
        await self._call("POST", f"/v1/guns/{gun}/scan", order, Done)

    async def clone(self, card: str, order: CloneOrder) -> None:
        """Copy a card as it is now."""
        await self._call("POST", f"/v1/things/{card}/clone", order, Done)

    async def fault(self, device: str, order: FaultOrder) -> None:
        """Let a device have a fault."""
        await self._call("POST", f"/v1/devices/{device}/fault", order, Done)

    async def mend(self, device: str) -> None:
        """End a device's fault now."""
        await self._call("POST", f"/v1/devices/{device}/mend", None, Done)

    async def set_allowance(self, thing: str, order: AllowanceOrder) -> None:
        """Have a phone or card set money aside for payments without a connection."""
        await self._call("POST", f"/v1/things/{thing}/allowance", order, Done)

    async def decide(self, phone: str, order: DecisionOrder) -> int:
        """Have a phone's owner answer what waits; returns how many payments did."""
        return (await self._call("POST", f"/v1/phones/{phone}/decide", order, Decided)).count

    async def pay(self, phone: str, order: PayOrder) -> None:
        """Have a phone's owner scan a till's code and pay it."""
        await self._call("POST", f"/v1/phones/{phone}/pay", order, Done)

    async def _call(self, method: str, path: str, order: Message | None, kind: type[T]) -> T:
        body = dump_message(order) if order is not None else (b"{}" if method == "POST" else None)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        timeout = aiohttp.ClientTimeout(total=REPLY_TIMEOUT_S)
        try:
            async with self._session.request(
                method, self._url + path, data=body, headers=headers, timeout=timeout
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProcessFailed(f"world: {method} {path}: {type(error).__name__}") from None
        if answer.status >= 400:
            raise ProcessFailed(f"world: {method} {path}: {_reason(content)}")
        # Not bounded like a message: an inventory of a large world is longer, and it is our own process.
        return msgspec.json.decode(content, type=kind)


def _reason(content: bytes) -> str:
    try:
        problem = parse_message(content, Problem)
    except WireError:
        return "an answer that is no problem document"
    return f"{problem.code}: {problem.detail or problem.title}"
