"""`make models`: write the files in `models/` from the presets."""

from __future__ import annotations

from pathlib import Path

from ..formats.files import write_files
from ..generator.build import design_files
from ..generator.presets import PRESETS, phases_of, preset
from .card import MODELS


def model_files() -> dict[Path, bytes]:
    """Return the generated files of `models/`, by path."""
    return {
        MODELS / name / file: text.encode()
        for name in PRESETS
        for file, text in design_files(preset(name), phases_of(name)).items()
    }


if __name__ == "__main__":
    write_files(model_files(), force=True)
