"""The services around one open store: what the commands and the HTTP interface both work with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from gateway.cards.orders import CardOrderService
from gateway.config import GatewayConfig
from gateway.entropy import Entropy
from gateway.errors import ConfigurationError
from gateway.holders.service import HolderService
from gateway.merchants.service import MerchantService
from gateway.merchants.staff import StaffService
from gateway.payments.card_keys import CardKeyRing
from gateway.pins import PinHasher
from gateway.storage.opening import bring_up_to_date, has_database, open_store
from gateway.storage.store import Store
from gateway.vault import KEY_BYTES, Vault, create_vault_key, has_vault_key, load_vault_key


@dataclass(frozen=True, slots=True)
class Office:
    """The services around one open store."""

    store: Store
    vault: Vault
    merchants: MerchantService
    holders: HolderService
    pins: PinHasher
    staff: StaffService
    cards: CardOrderService


def prepare_storage(
    config: GatewayConfig, env: Mapping[str, str], *, entropy: Entropy, new_vault_key: bool = False
) -> int:
    """Create or update the database, make a vault key where none can be missed, return the version.

    Args:
        new_vault_key: make a key even though there is a database, knowing that what an earlier key
            sealed stays closed.

    Raises:
        ConfigurationError: there is a database but no key, or a file can't be made.
        StoreUnavailable: the database can't be written.
    """
    if not has_vault_key(config.vault_key_path, env):
        if not new_vault_key and has_database(config.storage.database):
            raise ConfigurationError(
                f"there is a database but no vault key file {config.vault_key_path}: restore the key, or "
                "run `tapscan-gateway migrate --new-vault-key` and add the card keys again"
            )
        create_vault_key(config.vault_key_path, entropy(KEY_BYTES))
    return bring_up_to_date(config.storage.database)


@contextlib.asynccontextmanager
async def open_office(
    config: GatewayConfig, env: Mapping[str, str], entropy: Entropy
) -> AsyncIterator[Office]:
    """Open the store and the vault, and close the store behind the caller.

    Raises:
        ConfigurationError: no database, no vault key, or not the key of this database.
        StoreUnavailable: the database can't be used now.
    """
    store = await open_store(config.storage.database, queue_max=config.limits.write_queue_max)
    try:
        yield await make_office(store, config, env, entropy)
    finally:
        await store.close()


async def make_office(
    store: Store, config: GatewayConfig, env: Mapping[str, str], entropy: Entropy
) -> Office:
    """Return the services around a store, which stays the caller's to close.

    Raises:
        ConfigurationError: no vault key, or not the key of this database.
        StoreUnavailable: the database can't be used now.
    """
    vault = Vault(load_vault_key(config.vault_key_path, env))
    holders = HolderService(store, vault, entropy)
    await holders.check_card_keys()
    pins = PinHasher(vault.derive("pin entries", KEY_BYTES))
    return Office(
        store=store,
        vault=vault,
        merchants=MerchantService(store, vault, entropy),
        holders=holders,
        pins=pins,
        staff=StaffService(store, pins, CardKeyRing(store, vault), entropy),
        cards=CardOrderService(store, vault, entropy),
    )
