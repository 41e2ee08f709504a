"""Card keys on their way to a gateway: as files, so that none is in a shell's history or a process list."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from simulators.world.messages import CardKeysView

KEY_FILE_MODE: Final = 0o600


def write_card_keys(keys: CardKeysView, folder: Path) -> tuple[Path, Path]:
    """Write a batch's meta key and file master as hexadecimal text and return where.

    The files are what `tapscan-gateway card-keys add` takes; nobody else on the machine can read them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return (
        _write_key(folder / "meta.key", keys.meta_key_hex),
        _write_key(folder / "file-master.key", keys.file_master_hex),
    )


def _write_key(path: Path, key_hex: str) -> Path:
    # The mode first: a key must not lie there readable for even a moment.
    path.touch(mode=KEY_FILE_MODE)
    path.chmod(KEY_FILE_MODE)
    path.write_text(key_hex + "\n", encoding="ascii")
    return path
