"""Many commands in one process: starting Python for each takes longer than what most of them do."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TextIO

LINE_CHARS_MAX: Final = 4_096
EXIT_USAGE: Final = 2
"""As for a wrong use of the command line."""

_NOT_HERE: Final = frozenset({"serve", "worker", "batch"})
"""Commands that stay, or read standard input themselves."""


def run_batch(source: TextIO, target: TextIO, run: Callable[[Sequence[str]], None]) -> None:
    """Run the command of every line of `source`, and answer each on `target` before the next is read.

    Empty lines are passed over. A command that fails is answered and stops nothing.

    Args:
        run: runs a command by its words; ends with SystemExit, as a command line does.
    """
    for line in _read_lines(source):
        if line.strip():
            status, out, err = _run_line(line, run)
            target.write(json.dumps({"status": status, "out": out, "err": err}, ensure_ascii=False) + "\n")
            target.flush()


def _read_lines(source: TextIO) -> Iterator[str]:
    while line := source.readline(LINE_CHARS_MAX + 1):
        rest = line
        while len(rest) > LINE_CHARS_MAX and not rest.endswith("\n"):
            # The rest of what is too long must not pass for a command of its own.
            rest = source.readline(LINE_CHARS_MAX + 1)
        yield line


def _run_line(line: str, run: Callable[[Sequence[str]], None]) -> tuple[int, str, str]:
    if len(line) > LINE_CHARS_MAX:
        return EXIT_USAGE, "", f"a line has at most {LINE_CHARS_MAX} characters"
    try:
        words = shlex.split(line)
    except ValueError as error:
        return EXIT_USAGE, "", f"not written as in a shell: {error}"
    if words and words[0] in _NOT_HERE:
        return EXIT_USAGE, "", f"{words[0]} is no command for a batch"
    out, err = _open_capture(), _open_capture()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(words)
        except SystemExit as end:
            # Without a number it is a sentence, which Python itself ends with 1 for.
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return status, _read_capture(out), _read_capture(err)


def _open_capture() -> io.TextIOWrapper:
    # With bytes below, as a terminal has them: log lines are written there.
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _read_capture(capture: io.TextIOWrapper) -> str:
    raw = capture.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode("utf-8")
