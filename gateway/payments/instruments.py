"""The instruments that keys stand for, read once and remembered, many of them in one read.

Most holders who pay have not paid at this process before, so a payment's key is looked up more often than it
is remembered. Lookups that arrive in one turn of the event loop, or while another one is under way, are read
together; a lone one is read at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.holders.model import Instrument, InstrumentKind
from gateway.storage.store import KEYS_PER_CALL_MAX, HolderStore
from wire import es256

INSTRUMENTS_CACHED_MAX: Final = 10_000
"""Instruments whose immutable facts are kept in memory; the least recently used goes first."""


@dataclass(frozen=True, slots=True)
class KnownInstrument:
    """What never changes about an instrument, so that remembering it needs no invalidation."""

    instrument_id: str
    kind: InstrumentKind
    public_key: es256.PublicKey | None
    card_key_batch: int | None


Found = asyncio.Future[KnownInstrument | None]


class InstrumentDirectory:
    """Finds instruments by key id; used within one event loop."""

    def __init__(self, store: HolderStore, *, cached_max: int = INSTRUMENTS_CACHED_MAX) -> None:
        self._store = store
        self._cached_max = cached_max
        self._known: dict[bytes, KnownInstrument] = {}
        self._asked: dict[bytes, Found] = {}
        self._waiting: deque[bytes] = deque()
        self._reading: asyncio.Task[None] | None = None

    async def find(self, key_id: bytes) -> KnownInstrument | None:
        """Return the instrument with this key, whatever its status, or None.

        Raises:
            StoreUnavailable, GatewayBusy: retryable.
        """
        known = self._known.pop(key_id, None)
        if known is None:
            # Shielded, because others may wait for the same key.
            known = await asyncio.shield(self._ask(key_id))
        if known is not None:
            self._remember(key_id, known)
        return known

    def _ask(self, key_id: bytes) -> Found:
        found = self._asked.get(key_id)
        if found is None:
            loop = asyncio.get_running_loop()
            found = self._asked[key_id] = loop.create_future()
            self._waiting.append(key_id)
            if self._reading is None:
                self._reading = loop.create_task(self._read_all())
        return found

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), KEYS_PER_CALL_MAX)
                await self._read([self._waiting.popleft() for _ in range(count)])
        finally:
            self._reading = None

    async def _read(self, key_ids: list[bytes]) -> None:
        try:
            instruments = await self._store.find_instruments_by_keys(key_ids)
        # Whatever it is, it is the answer to everybody who waits.
        except Exception as error:  # noqa: BLE001
            for key_id in key_ids:
                _fail(self._asked.pop(key_id), error)
            return
        found = {instrument.key_id: _known(instrument) for instrument in instruments}
        for key_id in key_ids:
            self._asked.pop(key_id).set_result(found.get(key_id))

    def _remember(self, key_id: bytes, known: KnownInstrument) -> None:
        self._known[key_id] = known
        if len(self._known) > self._cached_max:
            self._known.pop(next(iter(self._known)))


def _known(instrument: Instrument) -> KnownInstrument:
    key = instrument.public_key
    return KnownInstrument(
        instrument_id=instrument.instrument_id,
        kind=instrument.kind,
        public_key=None if key is None else es256.load_public_key(key),
        card_key_batch=instrument.card_key_batch,
    )


def _fail(found: Found, error: Exception) -> None:
    found.set_exception(error)
    # Whoever asked may have gone; then nobody needs to be told that nobody was told.
    found.exception()
