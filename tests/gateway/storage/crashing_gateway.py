"""A process that books payments and says which were answered, until it is killed. Run by test_crash.py."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from gateway.storage.sqlite.store import SqliteStore, open_sqlite_store

AT_ONCE = 20


async def main(path: str, first_number: int, conftest: ModuleType) -> None:
    store = await open_sqlite_store(path)
    shop = conftest.Shop()
    if first_number == 0:
        await shop.furnish(store)
    await asyncio.gather(
        *(pay_for_ever(store, shop, first_number + start) for start in range(AT_ONCE)),
    )


async def pay_for_ever(store: SqliteStore, shop: object, number: int) -> None:
    while True:
        record = await store.book_payment(shop.booking(number, amount_minor=1))
        # Told only after it was answered: from here on it must never be lost.
        sys.stdout.write(f"{number} {record.outcome}\n")
        sys.stdout.flush()
        number += AT_ONCE


def load_conftest() -> ModuleType:
    # Run as a script, this process has the script's folder on its path, and not the project's.
    sys.path.insert(0, str(Path(__file__).parents[3]))
    spec = importlib.util.spec_from_file_location("shops", Path(__file__).parents[2] / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["shops"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), load_conftest()))
