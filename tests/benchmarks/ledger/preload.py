"""Ledgers made ready once and kept: furnished ones without a payment, and ones that hold millions.

What is kept has a name that changes with the schema, and takes the place of what had another."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import secrets
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.config import load_config
from gateway.office import open_office, prepare_storage
from gateway.storage.store import Store
from gateway.vault import create_vault_key
from tests.benchmarks.ledger.scale import SEED
from tests.benchmarks.ledger.town import Town, furnish, vault_key

Advance = Callable[[int], None]


def furnish_ledger(config: Path, town: Town, advance: Advance) -> None:
    """Make the ledger a configuration names, and everybody in it."""
    settings = load_config(config)
    create_vault_key(settings.vault_key_path, vault_key())
    prepare_storage(settings, {}, entropy=secrets.token_bytes)
    _work_on(config, lambda store: furnish(store, town, advance))


def cache_key(schema: Path, town: Town, count: int) -> str:
    """Return the name under which a ledger is kept: what it holds, then a digest.

    Args:
        schema: the folder of the store's migrations: another schema is another ledger.
    """
    digest = hashlib.sha256(repr((town.size, count, SEED)).encode("utf-8") + vault_key())
    for path in sorted(schema.glob("*.sql")):
        digest.update(path.read_bytes())
    return f"{town.size.wallet_count}-wallets-{count}-payments-{digest.hexdigest()[:12]}"


def keep(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder kept under this name, made first if there is none."""
    folder, kind = cache / name, name.rpartition("-")[0]
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{kind}.lock").open("w") as lock:
        # Whoever else makes one of this kind now is awaited.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # One of another schema is of no use any more, and may be large.
            for stale in cache.glob(f"{kind}-*"):
                shutil.rmtree(stale)
            partial = folder.with_name(f"{folder.name}.partial")
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


def _work_on(config: Path, work: Callable[[Store], Awaitable[None]]) -> None:
    async def session() -> None:
        async with open_office(load_config(config), {}, secrets.token_bytes) as office:
            await work(office.store)

    asyncio.run(session())
