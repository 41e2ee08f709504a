"""`tapscan-sim demo`: sets the stage, plays, says how it went, and leaves no process behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import webbrowser
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from simulators.demo.board import Board, make_board
from simulators.demo.play import entertain, keep_health, play_scenario
from simulators.demo.processes import Processes
from simulators.demo.scenario import Scenario, load_scenario
from simulators.demo.shoppers import Crowd
from simulators.demo.stage import DATABASE_NAME, Casting, Stage, open_stage
from simulators.demo.tally import Tally
from simulators.errors import ProcessFailed, SimulatorError
from simulators.world.file import WorldFile

SUCCESS: Final = 0
FAILURE: Final = 1
FAILED_AUDIT: Final = "failed"


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """Options of `tapscan-sim demo`."""

    file: WorldFile
    world_path: Path
    scenario_path: Path
    folder: Path | None
    """None is a temporary one, kept only if something went wrong."""
    once: bool
    picture: Path | None = None
    """Where to leave a picture of the live page as it was at the end."""


@dataclass(slots=True)
class _Verdict:
    complaints: list[str]
    audit: str = FAILED_AUDIT


def run_demo(setup: DemoSetup) -> int:
    """Run the demo and return its exit status.

    Raises:
        WorldFileInvalid: the scenario does not fit the world.
        SimulatorError: the folder holds the database of another run.
    """
    if setup.folder is not None and (setup.folder / DATABASE_NAME).exists():
        raise SimulatorError(f"{setup.folder} holds another demo's database: name an empty folder")
    scenario = load_scenario(setup.scenario_path, setup.file) if setup.once else None
    return asyncio.run(_Demo(setup, scenario).run())


class _Demo:
    def __init__(self, setup: DemoSetup, scenario: Scenario | None) -> None:
        self._setup = setup
        self._scenario = scenario
        self._tally = Tally()
        self._console = Console()
        self._deaths: list[str] = []

    async def run(self) -> int:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with _folder(self._setup.folder) as keeper:
            verdict = _Verdict([])
            try:
                with make_board(self._console, self._setup.file.iso_currency, self._tally) as board:
                    await self._perform(keeper.path, board, verdict, task)
            except asyncio.CancelledError:
                # Either somebody asked for the end, or a child died and took the play with it.
                verdict.complaints += self._deaths
                if self._scenario is not None and not self._deaths:
                    verdict.complaints.append("interrupted")
            except ProcessFailed as error:
                verdict.complaints += [str(error), *self._deaths]
            keeper.is_kept = bool(verdict.complaints)
            return self._conclude(verdict, keeper.path)

    async def _perform(
        self, folder: Path, board: Board, verdict: _Verdict, task: asyncio.Task[object]
    ) -> None:
        def report_death(text: str) -> None:
            self._deaths.append(text)
            task.cancel()

        processes = Processes(folder / "logs", report_death)
        casting = Casting(self._setup.file, self._setup.world_path, folder)
        try:
            async with open_stage(casting, processes, board) as stage, _health(stage, board):
                if self._scenario is None:
                    crowd = self._make_crowd(stage)
                    await entertain(stage, board, self._tally, crowd, _open_on_desktop)
                else:
                    verdict.complaints += await play_scenario(self._scenario, stage, board, self._tally)
                    verdict.audit = await stage.office.audit()
        finally:
            if self._setup.picture is not None:
                board.save_picture(self._setup.picture)
            await processes.stop_all()

    def _make_crowd(self, stage: Stage) -> Crowd:
        rng = random.Random(f"{self._setup.file.seed}/shoppers")  # noqa: S311 - repeatable on purpose
        devices = [name for name in self._setup.file.device_names if name not in stage.devices_off]
        return Crowd(self._setup.file, rng, devices)

    def _conclude(self, verdict: _Verdict, folder: Path) -> int:
        for complaint in verdict.complaints:
            self._say(f"UNEXPECTED: {complaint}")
        if verdict.complaints:
            self._say("logs:")
            for log in sorted((folder / "logs").glob("*.log")):
                self._say(f"  {log}")
        if self._scenario is not None or verdict.complaints:
            sys.stdout.write(self._tally.dump_json(verdict.audit) + "\n")
            sys.stdout.flush()
        return FAILURE if verdict.complaints else SUCCESS

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _open_on_desktop(url: str) -> None:
    """Show a page to whoever sits before this machine; nobody sits before a server."""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)


@dataclass(slots=True)
class _Keeper:
    path: Path
    is_kept: bool


@contextlib.contextmanager
def _folder(wanted: Path | None) -> Iterator[_Keeper]:
    """Make the folder for database and logs; a temporary one goes again unless it is to be kept."""
    path = wanted.absolute() if wanted is not None else Path(tempfile.mkdtemp(prefix="tapscan-demo-"))
    (path / "logs").mkdir(parents=True, exist_ok=True)
    keeper = _Keeper(path, is_kept=True)
    try:
        yield keeper
    finally:
        if wanted is None and not keeper.is_kept:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.asynccontextmanager
async def _health(stage: Stage, board: Board) -> AsyncIterator[None]:
    task = asyncio.create_task(keep_health(stage, board))
    try:
        yield
    finally:
        task.cancel()
