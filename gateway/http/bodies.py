"""Request bodies within their bounds: JSON, not too long, not too slow, and not while we stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from gateway.config import LimitSettings
from gateway.errors import GatewayError
from gateway.http.answers import JSON_CONTENT_TYPE
from gateway.http.calls import find_field
from wire.errors import WireError


class Intake:
    """Reads bodies as long as requests are welcome."""

    def __init__(self, limits: LimitSettings) -> None:
        self._bytes_max = limits.body_bytes_max
        self._read_s = limits.body_read_ms / 1000
        self._reading: set[asyncio.Timeout] = set()
        self.is_draining = False
        """Whether the gateway is stopping: what is in flight is finished, and nobody should send more."""

    async def read_body(self, request: web.Request) -> bytes:
        """Return the raw bytes of a JSON body, exactly as they were sent and signed.

        Raises:
            WireError: `unsupported_media_type`, `body_too_large`, or `malformed` when it does not come
                in time.
            GatewayError: `not_ready`; the gateway stops and will not see the rest of it.
        """
        # Said from the length alone; one that gives no length is cut off by the application's bound.
        self.check(request.headers, request.content_length or 0)
        if request.content.is_eof():
            # It came with its header, as a till's does: there is nothing to wait for, so no clock to set.
            return await request.read()
        try:
            return await self._read_in_time(request)
        except TimeoutError:
            if self.is_draining:
                raise GatewayError("the gateway is stopping", code="not_ready") from None
            raise WireError("the body did not come in time") from None

    def check(self, headers: Mapping[str, str], size_bytes: int) -> None:
        """Return if a body of this size and these header fields is one that is read.

        Raises:
            WireError: `unsupported_media_type`, `body_too_large`.
        """
        content_type = (find_field(headers, "Content-Type") or "").partition(";")[0].strip().lower()
        if content_type != JSON_CONTENT_TYPE or find_field(headers, "Content-Encoding") is not None:
            raise WireError("the body must be plain application/json", code="unsupported_media_type")
        if size_bytes > self._bytes_max:
            raise WireError(f"the body is longer than {self._bytes_max} bytes", code="body_too_large")

    def drain(self) -> None:
        """Stop waiting for bodies: once it stops, aiohttp drops whatever else a client sends."""
        self.is_draining = True
        for timeout in self._reading:
            timeout.reschedule(asyncio.get_running_loop().time())

    async def _read_in_time(self, request: web.Request) -> bytes:
        async with asyncio.timeout(0 if self.is_draining else self._read_s) as timeout:
            self._reading.add(timeout)
            try:
                return await request.read()
            finally:
                self._reading.discard(timeout)
