"""Writes frames as a GIF or as an mp4 with H.264."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from kshot.errors import ConfigError
from kshot.records import write_bytes

KINDS = (".gif", ".mp4")
PAPER, INK, PALE, GOOD = KEPT = ("#ffffff", "#000000", "#555555", "#007a57")
"""Colours of paper and text: a GIF keeps them exactly, whatever the pictures need of its 256."""
LAST_SECONDS = 1.5
"""How long the last frame stands still."""


def check(path: Path) -> None:
    """Raise ConfigError if no clip of this name can be written here: before anything is played."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError([f"--out {path}: clips are written as {' or '.join(KINDS)}"])
    if path.suffix.lower() == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError:
            raise ConfigError(
                [f"--out {path}: H.264 needs the package imageio-ffmpeg (pip install imageio-ffmpeg); .gif needs none"]
            ) from None


def write(path: Path, frames: Sequence[Image.Image], fps: float) -> None:
    """Write frames of one size, atomically; a GIF of the same frames has the same bytes."""
    write_bytes(path, _gif(frames, fps) if path.suffix.lower() == ".gif" else _mp4(frames, fps))


def _gif(frames: Sequence[Image.Image], fps: float) -> bytes:
    """One palette for all frames, without dithering: what stands still then costs nothing."""
    sample = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, 6).astype(int))]
    sheet = Image.fromarray(np.concatenate([np.asarray(frame) for frame in sample]))
    kept = np.array([ImageColor.getrgb(colour) for colour in KEPT])
    found = np.array(sheet.quantize(256 - len(kept), method=Image.Quantize.MEDIANCUT).getpalette()).reshape(-1, 3)
    for colour in kept:  # Pillow does not tell colours apart that are nearer than this
        found[np.abs(found - colour).max(axis=1) < 8] = colour
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([found, kept]).ravel().tolist())
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    each = round(100 / fps) * 10  # milliseconds; the format counts hundredths of a second
    durations = [each] * (len(frames) - 1) + [round(1000 * LAST_SECONDS)]
    buffer = io.BytesIO()
    reduced[0].save(buffer, "GIF", save_all=True, append_images=reduced[1:], duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def _mp4(frames: Sequence[Image.Image], fps: float) -> bytes:
    import imageio_ffmpeg

    width, height = (2 * (size // 2) for size in frames[0].size)  # the usual colour format halves both
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        writer = imageio_ffmpeg.write_frames(
            str(path), (width, height), fps=fps, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2
        )
        writer.send(None)
        for frame in [*frames, *[frames[-1]] * round(LAST_SECONDS * fps)]:
            writer.send(np.ascontiguousarray(np.asarray(frame)[:height, :width]))
        writer.close()
        return path.read_bytes()
