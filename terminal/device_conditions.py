"""From a system's error number to the condition that a cashier is told (wire/notices/conditions.py)."""

from __future__ import annotations

import errno
import termios
from typing import Final

_CONDITIONS: Final = {
    errno.ENOENT: "reader_unplugged",
    errno.ENODEV: "reader_unplugged",
    errno.ENXIO: "reader_unplugged",
    errno.EIO: "reader_unplugged",
    errno.EPIPE: "reader_unplugged",
    errno.ETIMEDOUT: "reader_unplugged",
    errno.EBADF: "reader_unplugged",
    errno.EBUSY: "reader_in_use",
    errno.EAGAIN: "reader_in_use",
    errno.EACCES: "reader_not_allowed",
    errno.EPERM: "reader_not_allowed",
}


def condition_of(error: BaseException) -> str:
    """Return the condition an error of a device's driver stands for.

    >>> condition_of(FileNotFoundError(2, "No such file or directory"))
    'reader_unplugged'
    """
    number = getattr(error, "errno", None)
    if isinstance(error, termios.error) and error.args:
        # No OSError, but the same number: what a serial port raises once its cable is pulled.
        number = error.args[0]
    return _CONDITIONS.get(number, "reader_failed") if isinstance(number, int) else "reader_failed"


def reason_of(error: BaseException) -> str:
    """Name an error by its class and number; a library's own text may hold the path and more."""
    number = getattr(error, "errno", None)
    return f"{type(error).__name__} {number}" if number else type(error).__name__
