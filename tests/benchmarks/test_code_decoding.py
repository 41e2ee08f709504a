"""The decoder's figures cannot silently get worse: part of the set of every distortion, no times."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.screens.distortions import DISTORTIONS
from simulators.screens.picture_file import PictureFile
from simulators.screens.render import render_frame
from tests.benchmarks.code_decoding import (
    make_trials,
    measure_distortions,
    measure_empty_frames,
    measure_photographs,
)

RATE_MIN = 0.9
HARD = {"blur": 0.6, "glare": 0.8, "crop": 0.25, "moire": 0.7}
"""Where every decoder loses pictures; all else is read in full."""


def test_decoder_reads_nine_of_ten_distorted_codes_and_none_wrongly() -> None:
    by_name, _ = measure_distortions(make_trials(seeds_each=1))
    assert [figures.name for figures in by_name] == [*DISTORTIONS, "all"]
    assert sum(figures.wrong_count for figures in by_name) == 0
    assert by_name[-1].rate >= RATE_MIN
    too_low = {
        figures.name: figures.rate for figures in by_name[:-1] if figures.rate < HARD.get(figures.name, 1.0)
    }
    assert not too_low


def test_empty_counter_gives_no_text() -> None:
    assert measure_empty_frames().rate == 1


def test_photographs_are_found_with_their_texts_and_judged(tmp_path: Path) -> None:
    (tmp_path / "set-1").mkdir()
    for name, shown, expected in (
        ("1", "P1:A", "P1:A\n"),
        ("2", "P1:B", "P1:C"),
        ("set-1/3", "P1:D", "P1:D"),
    ):
        PictureFile(tmp_path / f"{name}.png").show(render_frame(shown))
        (tmp_path / f"{name}.txt").write_text(expected)
    PictureFile(tmp_path / "untold.png").show(render_frame("P1:E"))
    figures = measure_photographs(tmp_path)
    assert (figures.picture_count, figures.read_count, figures.wrong_count) == (3, 2, 1)


def test_folder_without_photographs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no photograph"):
        measure_photographs(tmp_path)
