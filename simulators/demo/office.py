"""The gateway's operator, as the demo plays it: everything through `tapscan-gateway`, as an operator does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from simulators.demo.processes import Processes, product_command
from simulators.errors import ProcessFailed
from simulators.key_files import write_card_keys
from simulators.world.file import InstrumentEntry, WalletEntry, WorldFile
from simulators.world.messages import CardKeysView, ThingView

PROGRAM: Final = "tapscan-gateway"
LOG_NAME: Final = "operator"

T = TypeVar("T")


class _Balance(msgspec.Struct, frozen=True):
    """What the demo needs of a wallet; the command says more."""

    wallet_id: str
    available_minor: int


class Office:
    """Runs the gateway's commands on one configuration."""

    def __init__(self, config_path: Path, file: WorldFile, processes: Processes) -> None:
        """Work on the gateway of that configuration file."""
        self._config_path = config_path
        self._file = file
        self._processes = processes

    async def migrate(self) -> None:
        """Make the database."""
        await self._run("migrate")

    async def audit(self) -> str:
        """Recompute the books and return what the audit calls them, `ok`.

        Raises:
            ProcessFailed: a break was found; the text is the audit's own.
        """
        return _member(await self._run("audit", "--json"), "audit", str)

    async def add_merchant(self) -> str:
        """Register the shop and return its merchant id."""
        shop = self._file.shop
        options = ["--name", shop.name, "--currency", self._file.currency]
        options += ["--fee-basis-points", str(shop.fee_basis_points)]
        return await self._add("merchant", options, "merchant_id")

    async def add_location(self, merchant_id: str) -> str:
        """Register where the shop is and return the location's id."""
        options = ["--merchant", merchant_id, "--name", self._file.shop.location]
        return await self._add("location", options, "location_id")

    async def add_terminal(self, merchant_id: str, location_id: str) -> str:
        """Register a terminal and return the one-time code it enrols with."""
        options = ["--merchant", merchant_id, "--location", location_id]
        return await self._add("terminal", options, "enrolment_code")

    async def add_wallet(self, wallet: WalletEntry) -> str:
        """Register a wallet with its money in it and return its id."""
        options = ["--holder", wallet.holder, "--currency", self._file.currency]
        wallet_id = await self._add("wallet", options, "wallet_id")
        await self.fund_wallet(wallet_id, wallet.funds)
        return wallet_id

    async def fund_wallet(self, wallet_id: str, amount: str) -> None:
        """Put money into a wallet."""
        await self._run("wallet", "fund", wallet_id, amount, "--json")

    async def add_card_keys(self, keys: CardKeysView, folder: Path) -> None:
        """Register the batch of the world's NTAG 424 cards; the keys travel in files."""
        meta, master = write_card_keys(keys, folder)
        options = ["--batch", str(keys.batch), "--meta-key-file", str(meta)]
        await self._run("card-keys", "add", *options, "--file-master-file", str(master), "--json")

    async def add_instrument(self, entry: InstrumentEntry, thing: ThingView, wallet_id: str) -> None:
        """Register something to pay with."""
        options = ["--wallet", wallet_id, "--kind", thing.kind]
        if thing.public_key_hex:
            options += ["--public-key", thing.public_key_hex]
        else:
            options += ["--uid", thing.uid_hex, "--batch", str(thing.batch)]
        if entry.label:
            options += ["--label", entry.label]
        for option, amount in (("--per-payment", entry.per_payment), ("--per-day", entry.per_day)):
            if amount is not None:
                options += [option, amount]
        await self._run("instrument", "add", *options, "--json")

    async def list_balances_minor(self) -> dict[str, int]:
        """Return what each wallet can spend, in minor units, by wallet id."""
        wallets = _member(await self._run("wallet", "list", "--json"), "wallets", list[_Balance])
        return {wallet.wallet_id: wallet.available_minor for wallet in wallets}

    async def _add(self, noun: str, options: list[str], member: str) -> str:
        return _member(await self._run(noun, "add", *options, "--json"), member, str)

    async def _run(self, *arguments: str) -> bytes:
        command = product_command(PROGRAM, *arguments, "--config", str(self._config_path))
        return await self._processes.run(LOG_NAME, command)


def _member(output: bytes, name: str, kind: type[T]) -> T:
    try:
        answer: dict[str, Any] = msgspec.json.decode(output.strip().splitlines()[-1], type=dict)
        return msgspec.convert(answer[name], kind)
    except (IndexError, KeyError, msgspec.MsgspecError):
        raise ProcessFailed(f"{PROGRAM} did not answer with a JSON object that has {name}") from None
