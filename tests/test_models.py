"""`models/`: a folder per preset with the generator's files and a card.

test_digits_net.py tests the digits net.
"""

from __future__ import annotations

import re

import pytest

from sqgen.generator.presets import PRESETS, phases_of, preset
from sqgen.models.card import MODELS, read_card
from sqgen.models.write_models import model_files

from .conftest import published
from .test_published import FILES


def test_files_are_what_the_presets_make() -> None:
    """They drift when a preset, a template or the version changes: run `make models`."""
    made = model_files()
    assert len(made) == 3 * len(PRESETS) + 1  # dsd has two solvers
    for path, data in made.items():
        assert path.read_bytes() == data, f"{path.relative_to(MODELS)}: run `make models`"


def test_there_is_a_folder_for_each_preset_and_nothing_else() -> None:
    folders = {path.name for path in MODELS.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == {*PRESETS, "digits"}
    wanted = {"card.toml", "deploy.prototxt", "train_val.prototxt"}
    for folder in PRESETS:
        phases = [f"_{phase}" for phase in phases_of(folder)] or [""]
        solvers = {f"solver{phase}.prototxt" for phase in phases}
        assert {path.name for path in (MODELS / folder).iterdir()} == wanted | solvers
    ours = {"accuracy.json", "design.toml", "digits.caffemodel"}
    assert {path.name for path in (MODELS / "digits").iterdir()} == ours


@pytest.mark.parametrize("name", PRESETS)
def test_card_is_whole(name: str) -> None:
    card = read_card(name)
    assert all([card.title, card.about, card.notes])
    if card.weights:
        assert re.fullmatch("[0-9a-f]{40}", card.weights.commit)
        assert re.fullmatch("[0-9a-f]{40}", card.weights.git_blob)
        assert card.url is not None
        assert card.url.endswith(f"{card.weights.commit}/{card.weights.path}")


def test_cards_tell_which_files_were_published() -> None:
    recorded: dict[str, set[str]] = {name: set() for name in PRESETS}
    for record, (name, _) in FILES.items():
        kind = record.rpartition(".")[2] if not record.startswith("generator") else "train_val"
        recorded[name].add(kind)
        assert published(record)
    for name in PRESETS:
        assert set(read_card(name).published) == recorded[name], name


def test_published_accuracy_counts_every_image_once() -> None:
    for name in PRESETS:
        if read_card(name).accuracy:
            assert preset(name).test_batches * preset(name).val_batch_size == 50_000
