"""Whom the gateway told this terminal to believe, kept on disk so that a restart offline still knows.

    offline-trust.json    issuer keys, rules, the last good status list, when the clock was last confirmed

The list is kept as it was signed and verified anew when it is read back. One that is older than the list at
hand is not taken, whoever sends it: a replayed list would bring back who was suspended since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import structlog

from terminal.blocking import RunBlocking
from terminal.disk import Disk
from terminal.errors import TerminalError
from terminal.offline.gateway import OfflineGateway
from terminal.offline.rules import Trust
from wire import es256
from wire.errors import TokenError, WireError
from wire.messages.offline import IssuerAnswer, IssuerKey, OfflineRules, StatusListAnswer
from wire.tokens.status_list import StatusList, parse_status_list, verify_status_list

TRUST_FILE: Final = "offline-trust.json"
CLOCK_SKEW_MS_MAX: Final = 30_000
"""How far this machine's clock may lie from the gateway's and still count as right (protocol section 7)."""
DOUBLINGS_MAX: Final = 20

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _StoredTrust(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    keys: list[IssuerKey] = []
    rules: OfflineRules | None = None
    clock_set_ms: int | None = None
    etag: str | None = None
    status_list: bytes | None = None


class TrustStore:
    """What this terminal believes; `sync` asks for news, and both `trust` and the file have them after it."""

    def __init__(self, disk: Disk, now_ms: Callable[[], int], run_blocking: RunBlocking) -> None:
        """Read what was kept; a file that can't be read counts as nothing kept, which the log says.

        Args:
            now_ms: unix milliseconds.
            run_blocking: where the file is written, so that nobody waits for it.
        """
        self._disk = disk
        self._now_ms = now_ms
        self._run_blocking = run_blocking
        self._stored = _load(disk)
        self._trust = _as_trust(self._stored)

    @property
    def trust(self) -> Trust:
        """What holds now; a value that never changes itself, so it may be read from any thread."""
        return self._trust

    async def sync(self, gateway: OfflineGateway) -> None:
        """Ask for keys, rules and list, and keep what is new; it is on disk when this returns.

        What arrived before a failure is kept: rules without a list refuse every tap, and a list that was
        good stays good for its age.

        Raises:
            GatewayUnreachable, GatewayRefused: nothing new was learnt of what was asked last.
            OSError: the news hold until the next start, and are asked for again then.
        """
        asked_ms = self._now_ms()
        issuer = await gateway.fetch_issuer()
        self._stored = self._with_issuer(issuer, asked_ms, self._now_ms())
        self._trust = _as_trust(self._stored)
        try:
            listed = await gateway.fetch_status_list(self._known_etag())
            self._stored = self._with_list(listed)
            self._trust = _as_trust(self._stored)
        finally:
            content = msgspec.json.encode(self._stored)
            await self._run_blocking(partial(self._disk.write, TRUST_FILE, content))

    async def keep_in_sync(
        self,
        gateway: OfflineGateway,
        *,
        interval_ms: int,
        retry_delay_ms: int,
        jitter: Callable[[], float],
    ) -> None:
        """Sync now and again for as long as this runs; failures only shorten the pause.

        Args:
            interval_ms: between two that went well, and the longest between two that did not.
            retry_delay_ms: after the first failure; doubled from there on.
            jitter: returns a number in [0, 1), to spread many tills.
        """
        failure_count = 0
        while True:
            try:
                await self.sync(gateway)
                failure_count, pause_ms = 0, interval_ms
            except (TerminalError, OSError) as error:
                doublings = min(failure_count, DOUBLINGS_MAX)
                failure_count, pause_ms = failure_count + 1, min(retry_delay_ms << doublings, interval_ms)
                log.info("offline_trust_not_synced", reason=type(error).__name__)
            except Exception:
                # Whatever broke must not leave the list to grow old unnoticed.
                log.exception("offline_trust_sync_failed")
                pause_ms = interval_ms
            await asyncio.sleep(pause_ms * (0.5 + 0.5 * jitter()) / 1000)

    def _known_etag(self) -> str | None:
        # Only while the list itself is at hand and its key is still believed.
        return self._stored.etag if self._trust.status_list is not None else None

    def _with_issuer(self, issuer: IssuerAnswer, asked_ms: int, answered_ms: int) -> _StoredTrust:
        clock_set_ms = self._stored.clock_set_ms
        # The gateway wrote its time somewhere between the question and the answer.
        if asked_ms - CLOCK_SKEW_MS_MAX <= issuer.gateway_time_ms <= answered_ms + CLOCK_SKEW_MS_MAX:
            clock_set_ms = answered_ms
        else:
            log.warning("offline_clock_wrong", ahead_ms=answered_ms - issuer.gateway_time_ms)
        return msgspec.structs.replace(
            self._stored, keys=issuer.keys, rules=issuer.rules, clock_set_ms=clock_set_ms
        )

    def _with_list(self, listed: StatusListAnswer) -> _StoredTrust:
        if listed.status_list is None:
            return self._stored
        fresh = _verify_list(listed.status_list, self._trust)
        if fresh is None:
            log.warning("offline_list_not_believed")
            return self._stored
        at_hand = self._trust.status_list
        if at_hand is not None and fresh.issued_s < at_hand.issued_s:
            log.warning("offline_list_older", issued_s=fresh.issued_s)
            return self._stored
        return msgspec.structs.replace(self._stored, etag=listed.etag, status_list=listed.status_list)


def _load(disk: Disk) -> _StoredTrust:
    try:
        content = disk.read(TRUST_FILE)
        return msgspec.json.decode(content, type=_StoredTrust) if content else _StoredTrust()
    except (OSError, msgspec.DecodeError) as error:
        log.error("offline_trust_unreadable", reason=type(error).__name__)
        return _StoredTrust()


def _as_trust(stored: _StoredTrust) -> Trust:
    keys = _load_keys(stored.keys)
    believing = Trust(keys, stored.rules, None, stored.clock_set_ms)
    status_list = None if stored.status_list is None else _verify_list(stored.status_list, believing)
    return Trust(keys, stored.rules, status_list, stored.clock_set_ms)


def _load_keys(keys: list[IssuerKey]) -> dict[bytes, es256.PublicKey]:
    loaded: dict[bytes, es256.PublicKey] = {}
    for key in keys:
        try:
            public_key = es256.load_public_key(key.public_key)
        except WireError:
            log.warning("offline_issuer_key_invalid")
            continue
        # By the id that follows from the key, whatever the answer calls it.
        loaded[es256.key_id_of(public_key)] = public_key
    return loaded


def _verify_list(data: bytes, trust: Trust) -> StatusList | None:
    try:
        sealed = parse_status_list(data)
        issuer_key = trust.issuer_keys.get(sealed.key_id)
        return None if issuer_key is None else verify_status_list(sealed, issuer_key)
    except TokenError:
        return None
