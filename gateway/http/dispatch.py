"""A gateway that is called within its own process: calls in, answers out, and no socket between.

It answers from the same table as the aiohttp application, with the same checks before and the same problems
after. It is for whoever carries requests by other means than HTTP, as a simulated network does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from yarl import URL

from gateway.errors import NotFound
from gateway.http.answers import REQUEST_ID_HEADER, Answer, HttpDate
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange, answer_failure, log_exchange
from gateway.http.problems import MethodNotAllowed
from gateway.http.table import Route, make_table

_HEAD: Final = "HEAD"


class Dispatcher:
    """Answers calls, each whatever becomes of it; used within one event loop."""

    def __init__(self, desk: Desk) -> None:
        """Prepare a dispatcher around what the composition root made."""
        self._desk = desk
        self._routes = [(tuple(route.pattern.split("/")), route) for route in make_table(desk)]
        self._date = HttpDate()

    async def dispatch(self, call: SignedCall) -> Answer:
        """Return the answer to a call; a failure is an answer too, and only cancelling raises.

        Args:
            call: with its body whole. A body longer than the bound is refused like one over HTTP.
        """
        noted = Exchange(self._desk.request_ids.draw(), time.perf_counter())
        route: Route | None = None
        try:
            route, parameters = self._find(call)
            answer = await self._answer(route, call, parameters, noted)
        except Exception as error:  # noqa: BLE001  the one place, on this way, where none may get out
            answer = answer_failure(error, noted)
        method, pattern = ("-", "-") if route is None else (call.method, route.pattern)
        log_exchange(self._desk.request_log, noted, method=method, route=pattern, status=answer.status)
        return self._complete(call, answer, noted)

    async def _answer(
        self, route: Route, call: SignedCall, parameters: Mapping[str, str], noted: Exchange
    ) -> Answer:
        desk = self._desk
        if route.is_admitted:
            desk.admission.check()
        if route.has_body:
            desk.intake.check(call.headers, len(call.body))
        if not route.is_admitted:
            return await route.handle(call, parameters, noted)
        desk.admission.enter()
        try:
            return await route.handle(call, parameters, noted)
        finally:
            desk.admission.leave()

    def _find(self, call: SignedCall) -> tuple[Route, dict[str, str]]:
        """Return the route of a call and what its path says.

        Raises:
            NotFound: no route has this path.
            MethodNotAllowed: one has, but not for this method.
        """
        segments = URL(call.raw_path, encoded=True).path_safe.split("/")
        fitting = [
            (route, parameters)
            for pattern, route in self._routes
            if (parameters := _match(pattern, segments)) is not None
        ]
        for route, parameters in fitting:
            if call.method in _methods(route):
                return route, parameters
        if not fitting:
            raise NotFound
        allowed_methods = {method for route, _ in fitting for method in _methods(route)}
        raise MethodNotAllowed(allowed_methods=allowed_methods)

    def _complete(self, call: SignedCall, answer: Answer, noted: Exchange) -> Answer:
        fields = (
            *answer.fields,
            (REQUEST_ID_HEADER, noted.request_id),
            ("Date", self._date.at(self._desk.now_ms())),
        )
        body = b"" if call.method == _HEAD else answer.body
        return msgspec.structs.replace(answer, fields=fields, body=body)


def _methods(route: Route) -> Iterable[str]:
    return (route.method, _HEAD) if route.answers_head else (route.method,)


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    """Return what a path's segments say for a pattern's parameters, or None if they don't fit it."""
    if len(pattern) != len(segments):
        return None
    parameters = {}
    for wanted, found in zip(pattern, segments, strict=True):
        if wanted.startswith("{") and found:
            parameters[wanted[1:-1]] = found.replace("%2F", "/").replace("%25", "%")
        elif wanted != found:
            return None
    return parameters
