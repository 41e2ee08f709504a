"""How a browser gets in: a link that is good once, then a cookie; only digests of either are kept.

The link's secret stands behind the `#` of its address, so it is in no request line and no log. The cookie's
name carries the terminal's id: browsers don't keep two tills on one machine's ports apart.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from terminal.data_folder import write_file_durably
from terminal.errors import SaleRefused
from wire.messages.till_page import PageKind

LINK_MS: Final = 15 * 60_000
LINKS_MAX: Final = 16
"""Links that nobody has used; the oldest ends where one more is made."""
SESSION_MS: Final = 90 * 86_400_000
SESSIONS_MAX: Final = 64
SECRET_BYTES: Final = 32
SESSIONS_FILE: Final = "page-sessions.json"
SESSIONS_BYTES_MAX: Final = 64 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PageSession(msgspec.Struct, frozen=True):
    """A browser that was let in."""

    digest: str
    """SHA-256 of its cookie's value, as hexadecimal text."""
    page: PageKind
    expires_ms: int


class PageDoor:
    """Makes links, takes each of them once, and knows the browsers that came in with one."""

    def __init__(
        self,
        folder: Path,
        terminal_id: str,
        *,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Know again whoever was let in before; the file survives power loss."""
        self._path = folder / SESSIONS_FILE
        self._now_ms = now_ms
        self._entropy = entropy
        self._links: OrderedDict[str, tuple[PageKind, int]] = OrderedDict()
        self._sessions = OrderedDict((one.digest, one) for one in _read_sessions(self._path))
        self._storing = threading.Lock()
        self.cookie_name = f"tapscan_till_{terminal_id}"

    def make_link(self, page: PageKind) -> tuple[str, int]:
        """Return the secret of a new link, and when it ends (unix milliseconds)."""
        secret = self._draw()
        expires_ms = self._now_ms() + LINK_MS
        self._links[_digest(secret)] = (page, expires_ms)
        while len(self._links) > LINKS_MAX:
            self._links.popitem(last=False)
        return secret, expires_ms

    def enter(self, link_secret: str) -> tuple[PageKind, str]:
        """Take a link, which is then used, and return for which page it was and the new cookie's value.

        Blocks until the session is on disk; a disk that can't be written costs it the next restart.

        Raises:
            SaleRefused: `page_link_invalid`; never made, used, or too old.
        """
        page, expires_ms = self._links.pop(_digest(link_secret), (None, 0))
        if page is None or expires_ms <= self._now_ms():
            raise SaleRefused(code="page_link_invalid")
        cookie = self._draw()
        digest = _digest(cookie)
        self._sessions[digest] = PageSession(digest, page, self._now_ms() + SESSION_MS)
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        self._store()
        return page, cookie

    def find(self, cookie: str | None) -> PageKind | None:
        """Return for which page a cookie's browser was let in; None for a stranger."""
        session = None if cookie is None else self._sessions.get(_digest(cookie))
        return None if session is None or session.expires_ms <= self._now_ms() else session.page

    def leave(self, cookie: str) -> None:
        """Forget a browser; blocks until that is on disk."""
        if self._sessions.pop(_digest(cookie), None) is not None:
            self._store()

    def _draw(self) -> str:
        return base64.urlsafe_b64encode(self._entropy(SECRET_BYTES)).rstrip(b"=").decode("ascii")

    def _store(self) -> None:
        try:
            # One after another, and each with all that holds by then.
            with self._storing:
                write_file_durably(self._path, msgspec.json.encode(list(self._sessions.values())))
        except OSError as error:
            log.warning("page_sessions_not_stored", reason=error.strerror)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _read_sessions(path: Path) -> list[PageSession]:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(SESSIONS_BYTES_MAX), type=list[PageSession])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        # Whoever was let in before needs a new link; nothing else hangs on it.
        log.warning("page_sessions_unreadable", reason=type(error).__name__)
        return []
