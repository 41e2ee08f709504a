"""The gateway's operator, as the demo plays it: everything through `tapscan-gateway`, as an operator does.

The commands are given to one `tapscan-gateway batch`, because starting a process for each would take longer
than the commands do.
"""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from simulators.demo.processes import Child, Processes, product_command
from simulators.errors import ProcessFailed
from simulators.key_files import write_card_keys
from simulators.world.file import InstrumentEntry, ShopEntry, WalletEntry, WorldFile
from simulators.world.messages import CardKeysView, ThingView

PROGRAM: Final = "tapscan-gateway"
LOG_NAME: Final = "operator"
COMMAND_TIMEOUT_S: Final = 60.0
"""A command waits for the database and no longer; the audit of a demo's ledger takes a second."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewTerminal:
    """A terminal that waits for its enrolment."""

    terminal_id: str
    enrolment_code: str


class _Answer(msgspec.Struct, frozen=True):
    """What a batch says of one command."""

    status: int
    out: str
    err: str


class _Balance(msgspec.Struct, frozen=True):
    """What the demo needs of a wallet; the command says more."""

    wallet_id: str
    available_minor: int


class Office:
    """Runs the gateway's commands on one configuration, one after another."""

    def __init__(self, config_path: Path, file: WorldFile, processes: Processes) -> None:
        """Work on the gateway of that configuration file; the first command starts the batch."""
        self._config_path = config_path
        self._file = file
        self._processes = processes
        self._batch: Child | None = None
        self._turn = asyncio.Lock()
        self._asked_count = 0
        self._answered_count = 0

    async def migrate(self) -> None:
        """Make the database."""
        await self.run("migrate")

    async def audit(self) -> str:
        """Recompute the books and return what the audit calls them, `ok`.

        Raises:
            ProcessFailed: a break was found; the text is the audit's own.
        """
        return _member(await self.run("audit", "--json"), "audit", str)

    async def add_merchant(self, shop: ShopEntry) -> str:
        """Register a shop and return its merchant id."""
        options = ["--name", shop.name, "--currency", self._file.currency]
        options += ["--fee-basis-points", str(shop.fee_basis_points)]
        return await self._add("merchant", options, "merchant_id")

    async def add_location(self, merchant_id: str, shop: ShopEntry) -> str:
        """Register where a shop is and return the location's id."""
        options = ["--merchant", merchant_id, "--name", shop.location]
        return await self._add("location", options, "location_id")

    async def add_terminal(self, merchant_id: str, location_id: str) -> NewTerminal:
        """Register a terminal and return the one-time code it enrols with."""
        output = await self.run(
            "terminal", "add", "--merchant", merchant_id, "--location", location_id, "--json"
        )
        return NewTerminal(_member(output, "terminal_id", str), _member(output, "enrolment_code", str))

    async def add_wallet(self, wallet: WalletEntry) -> str:
        """Register a wallet with its money in it, in the state the file says, and return its id."""
        options = ["--holder", wallet.holder, "--currency", self._file.currency]
        wallet_id = await self._add("wallet", options, "wallet_id")
        await self.fund_wallet(wallet_id, wallet.funds)
        if wallet.pin is not None:
            await self.run("wallet", "pin", wallet_id, "--pin", wallet.pin)
        if wallet.identity is not None:
            await self.run("wallet", "level", wallet_id, wallet.identity)
        if wallet.frozen:
            await self.run("wallet", "freeze", wallet_id)
        return wallet_id

    async def fund_wallet(self, wallet_id: str, amount: str) -> None:
        """Put money into a wallet."""
        await self.run("wallet", "fund", wallet_id, amount, "--json")

    async def add_card_keys(self, keys: CardKeysView, folder: Path) -> None:
        """Register the batch of the world's NTAG 424 cards; the keys travel in files."""
        meta, master = write_card_keys(keys, folder)
        options = ["--batch", str(keys.batch), "--meta-key-file", str(meta)]
        await self.run("card-keys", "add", *options, "--file-master-file", str(master), "--json")

    async def add_instrument(self, entry: InstrumentEntry, thing: ThingView, wallet_id: str) -> str:
        """Register something to pay with, and return its id; whether it is suspended is said afterwards."""
        options = ["--wallet", wallet_id, "--kind", thing.kind]
        if thing.public_key_hex:
            options += ["--public-key", thing.public_key_hex]
        else:
            options += ["--uid", thing.uid_hex, "--batch", str(thing.batch)]
        if entry.label:
            options += ["--label", entry.label]
        if entry.weakest_entry_mode is not None:
            options += ["--weakest-entry-mode", entry.weakest_entry_mode.value]
        for option, amount in (("--per-payment", entry.per_payment), ("--per-day", entry.per_day)):
            if amount is not None:
                options += [option, amount]
        instrument_id = await self._add("instrument", options, "instrument_id")
        if entry.confirm_above is not None:
            minor = self._file.money(entry.confirm_above).minor
            await self.run("limit", "confirm-above", instrument_id, str(minor))
        return instrument_id

    async def suspend_instrument(self, instrument_id: str) -> None:
        """Stop an instrument from paying."""
        await self.run("instrument", "suspend", instrument_id)

    async def list_balances_minor(self) -> dict[str, int]:
        """Return what each wallet can spend, in minor units, by wallet id."""
        balances: dict[str, int] = {}
        while True:
            page = ["--after", max(balances)] if balances else []
            output = await self.run("wallet", "list", *page, "--json")
            wallets = _member(output, "wallets", list[_Balance])
            if not wallets:
                return balances
            balances |= {wallet.wallet_id: wallet.available_minor for wallet in wallets}

    async def run(self, *words: str) -> str:
        """Run one command and return what it wrote.

        Raises:
            ProcessFailed: it ended with another status than 0; the text is its own.
        """
        async with self._turn:
            answer = await self._ask(shlex.join(words))
        if answer.status != 0:
            raise ProcessFailed(f"`{PROGRAM} {' '.join(words[:2])}`: {(answer.err or answer.out).strip()}")
        return answer.out

    async def _ask(self, line: str) -> _Answer:
        if self._batch is None:
            command = product_command(PROGRAM, "batch", "--config", str(self._config_path))
            self._batch = await self._processes.start(LOG_NAME, command, piped=True, fed=True)
        process = self._batch.process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                self._asked_count += 1
                number = self._asked_count
                process.stdin.write(line.encode("utf-8") + b"\n")
                await process.stdin.drain()
                while True:
                    answer = await process.stdout.readline()
                    self._answered_count += 1
                    # Whoever asked before may have given up: what they were answered is still to come.
                    if self._answered_count == number or not answer:
                        return msgspec.json.decode(answer, type=_Answer)
        except (TimeoutError, OSError, ValueError):
            # A line that is too long for the stream is a ValueError as well.
            raise ProcessFailed(f"{PROGRAM} batch did not answer; see {self._batch.log_path}") from None

    async def _add(self, noun: str, options: list[str], member: str) -> str:
        return _member(await self.run(noun, "add", *options, "--json"), member, str)


def _member(output: str, name: str, kind: type[T]) -> T:
    try:
        answer: dict[str, Any] = msgspec.json.decode(output.strip().splitlines()[-1], type=dict)
        return msgspec.convert(answer[name], kind)
    except (IndexError, KeyError, msgspec.MsgspecError):
        raise ProcessFailed(f"{PROGRAM} did not answer with a JSON object that has {name}") from None
