"""The keys of NTAG 424 card batches, opened once and kept in memory, and the taps they prove."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.holders.model import CardKeyBatch
from gateway.storage.store import HolderStore
from gateway.vault import Vault, file_master_purpose, meta_key_purpose
from wire.cards.ntag424.keys import card_key_id, diversify_file_key
from wire.cards.ntag424.link import SunLink, SunTap, verify_sun_link
from wire.errors import TokenError


@dataclass(frozen=True, slots=True)
class CardTap:
    """A genuine tap of a card: its key id, never its UID."""

    key_id: bytes
    counter: int
    batch_number: int


@dataclass(frozen=True, slots=True)
class _OpenBatch:
    batch_number: int
    meta_key: bytes
    file_master: bytes


class CardKeyRing:
    """Tries the batches there are; a batch's keys never change, but batches are added."""

    def __init__(self, store: HolderStore, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._batches: tuple[_OpenBatch, ...] = ()

    async def verify_tap(self, link: SunLink) -> CardTap | None:
        """Return whose tap this is, or None if no batch's keys prove it.

        Raises:
            StoreUnavailable, GatewayBusy: retryable. SealBroken: the vault's key is another one.
        """
        tried = self._batches
        tap = _find_tap(tried, link)
        if tap is None:
            await self._find_new_batches()
            if self._batches is not tried:
                # Found just now, by this tap or by another one that asked at the same time.
                tap = _find_tap(self._batches, link)
        return tap

    async def _find_new_batches(self) -> None:
        stored = await self._store.list_card_key_batches()
        if len(stored) > len(self._batches):
            self._batches = tuple(map(self._open, stored))

    def _open(self, batch: CardKeyBatch) -> _OpenBatch:
        number = batch.batch_number
        return _OpenBatch(
            batch_number=number,
            meta_key=self._vault.open(batch.meta_key_sealed, meta_key_purpose(number)),
            file_master=self._vault.open(batch.file_master_sealed, file_master_purpose(number)),
        )


def _find_tap(batches: tuple[_OpenBatch, ...], link: SunLink) -> CardTap | None:
    for batch in batches:
        tap = _try_batch(batch, link)
        if tap is not None:
            return CardTap(card_key_id(batch.file_master, tap.uid), tap.counter, batch.batch_number)
    return None


def _try_batch(batch: _OpenBatch, link: SunLink) -> SunTap | None:
    try:
        return verify_sun_link(
            link,
            meta_key=batch.meta_key,
            file_key_of=lambda uid: diversify_file_key(batch.file_master, uid),
        )
    except TokenError:
        return None
