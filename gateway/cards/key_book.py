"""Which keys a card may have: what its key versions say, over the batches there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.payments.card_keys import OpenCardKeys
from wire.cards.ntag424.card_profile import KEY_VERSION_DELIVERED, KeySlot
from wire.cards.ntag424.commands import ZERO_KEY

KeyRow = tuple[int, int]
"""Batch number and key version."""


@dataclass(frozen=True, slots=True)
class KeyBook:
    """Keys of batches, the likeliest batch first."""

    rows: tuple[OpenCardKeys, ...]

    def preferring(self, batch_number: int | None) -> KeyBook:
        """Return the same keys with one batch's first."""
        return KeyBook(tuple(sorted(self.rows, key=lambda keys: keys.batch_number != batch_number)))

    def find(self, row: KeyRow) -> OpenCardKeys:
        """Return the keys of a row."""
        return next(keys for keys in self.rows if (keys.batch_number, keys.key_version) == row)

    def newest_of(self, batch_number: int) -> OpenCardKeys | None:
        """Return a batch's newest keys; None if there is no such batch."""
        ours = [keys for keys in self.rows if keys.batch_number == batch_number]
        return max(ours, key=lambda keys: keys.key_version, default=None)

    def key_ids_of(self, uid: bytes) -> dict[bytes, OpenCardKeys]:
        """Return every key id that a card could have, with the keys that give it."""
        return {keys.key_id_of(uid): keys for keys in self.rows}

    def candidates(self, slot: KeySlot, version: int, uid: bytes) -> Iterator[bytes]:
        """Yield the keys that may lie in a slot which says that it has this version."""
        if version == KEY_VERSION_DELIVERED:
            yield ZERO_KEY
            return
        for keys in self.rows:
            if keys.key_version == version:
                yield keys.keys_of(uid).of(slot)

    def meta_candidates(self, version: int) -> Iterator[bytes]:
        """Yield the keys that may lie in the meta slot; they are the batch's, so no UID is needed."""
        if version == KEY_VERSION_DELIVERED:
            yield ZERO_KEY
            return
        yield from (keys.meta_key for keys in self.rows if keys.key_version == version)


def open_rows(every: Sequence[OpenCardKeys], rows: Sequence[KeyRow]) -> KeyBook:
    """Return the book of exactly these rows, in this order."""
    by_row = {(keys.batch_number, keys.key_version): keys for keys in every}
    return KeyBook(tuple(by_row[row] for row in rows))
