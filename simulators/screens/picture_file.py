"""A picture file that stands for a camera: what `camera:file:PATH` reads."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from simulators.screens.render import GreyImage, idle_frame


class PictureFile:
    """Shows a phone by writing one PNG file, replaced as a whole so that nobody reads half a picture."""

    def __init__(self, path: Path) -> None:
        """Show the empty counter at this path; the folder must exist."""
        self.path = path
        self.show(None)

    def show(self, frame: GreyImage | None) -> None:
        """Let the file hold this picture; None is the empty, dark counter.

        Raises:
            OSError: the folder cannot be written.
        """
        done, png = cv2.imencode(".png", idle_frame() if frame is None else frame)
        assert done, "a grey picture always encodes"
        part = self.path.with_suffix(".part")
        part.write_bytes(png.tobytes())
        os.replace(part, self.path)
