"""The keys of NTAG 424 card batches, opened once and kept in memory, and the taps they prove."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import NotFound
from gateway.holders.model import CardKeyBatch
from gateway.storage.store import HolderStore
from gateway.vault import Vault, file_master_purpose, meta_key_purpose
from wire.cards.ntag424.card_profile import CardKeys, derive_card_keys
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
class OpenCardKeys:
    """One version of a batch's keys, in the clear; it never leaves the gateway's memory."""

    batch_number: int
    key_version: int
    meta_key: bytes
    file_master: bytes

    def keys_of(self, uid: bytes) -> CardKeys:
        """Return the five keys of a card, by its real 7 bytes."""
        return derive_card_keys(self.meta_key, self.file_master, uid)

    def key_id_of(self, uid: bytes) -> bytes:
        """Return the eight bytes by which the database knows this card while it has these keys."""
        return card_key_id(self.file_master, uid)

    def verify(self, link: SunLink) -> SunTap | None:
        """Return whose tap a link is, or None if a card under other keys made it."""
        try:
            return verify_sun_link(
                link,
                meta_key=self.meta_key,
                file_key_of=lambda uid: diversify_file_key(self.file_master, uid),
            )
        except TokenError:
            return None


class CardKeyRing:
    """Tries the keys there are; a batch's keys of a version never change, but versions are added."""

    def __init__(self, store: HolderStore, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._keys: tuple[OpenCardKeys, ...] = ()

    async def open_all(self) -> tuple[OpenCardKeys, ...]:
        """Return all keys, batches and versions falling.

        Raises:
            StoreUnavailable, GatewayBusy: retryable. SealBroken: the vault's key is another one.
        """
        await self._find_new_keys()
        return self._keys

    async def verify_tap(self, link: SunLink) -> CardTap | None:
        """Return whose tap this is, or None if no batch's keys prove it.

        Raises:
            StoreUnavailable, GatewayBusy: retryable. SealBroken: the vault's key is another one.
        """
        tried = self._keys
        tap = _find_tap(tried, link)
        if tap is None:
            await self._find_new_keys()
            if self._keys is not tried:
                # Found just now, by this tap or by another one that asked at the same time.
                tap = _find_tap(self._keys, link)
        return tap

    async def find_key_id(self, batch_number: int, key_version: int, uid: bytes) -> bytes:
        """Return the key id of a card by its UID of 7 bytes, which is stored nowhere.

        Raises:
            WireError: no UID. NotFound: no such version of a batch of card keys.
        """
        for keys in await self.open_all():
            if (keys.batch_number, keys.key_version) == (batch_number, key_version):
                return keys.key_id_of(uid)
        raise NotFound("there is no such batch of card keys")

    async def _find_new_keys(self) -> None:
        stored = await self._store.list_card_key_batches()
        if len(stored) > len(self._keys):
            self._keys = tuple(map(self._open, stored))

    def _open(self, batch: CardKeyBatch) -> OpenCardKeys:
        number, version = batch.batch_number, batch.key_version
        return OpenCardKeys(
            batch_number=number,
            key_version=version,
            meta_key=self._vault.open(batch.meta_key_sealed, meta_key_purpose(number, version)),
            file_master=self._vault.open(batch.file_master_sealed, file_master_purpose(number, version)),
        )


def _find_tap(tried: tuple[OpenCardKeys, ...], link: SunLink) -> CardTap | None:
    for keys in tried:
        tap = keys.verify(link)
        if tap is not None:
            return CardTap(keys.key_id_of(tap.uid), tap.counter, keys.batch_number)
    return None
