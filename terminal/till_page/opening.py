"""The till's pages put together for a daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from terminal.config import TerminalConfig
from terminal.sale.desk import SaleDesk
from terminal.sale.events import EventBoard
from terminal.till_page.catalogue import load_catalogue
from terminal.till_page.display import Display
from terminal.till_page.door import PageDoor
from terminal.till_page.routes import PageApi
from terminal.till_page.static_files import StaticFiles
from wire.messages.enrolment import EnrolmentAnswer
from wire.money import find_currency


def open_pages(
    config: TerminalConfig,
    enrolment: EnrolmentAnswer,
    desk: SaleDesk,
    board: EventBoard,
    *,
    now_ms: Callable[[], int],
    entropy: Callable[[int], bytes],
) -> PageApi:
    """Return the pages of a till.

    Raises:
        ConfigurationError: the catalogue can't be read.
    """
    catalogue = config.till_page.catalogue
    items = () if catalogue is None else load_catalogue(Path(catalogue), find_currency(enrolment.currency))
    return PageApi(
        PageDoor(config.data_path, enrolment.terminal_id, now_ms=now_ms, entropy=entropy),
        Display(desk, enrolment, config.language, now_ms),
        board,
        StaticFiles(),
        items,
        has_printer=config.printer is not None,
    )
