"""A folder without a disk below it, for tests that commit a lot and ask nothing of what a disk keeps."""

from __future__ import annotations

import os
from pathlib import Path


def find_memory_folder(bytes_min: int) -> str | None:
    """Return a folder in memory with so much space; None where there is none, which means a plain one."""
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK):
        return None
    space = os.statvfs(folder)
    return str(folder) if space.f_bavail * space.f_frsize >= bytes_min else None
