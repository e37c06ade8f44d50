"""Hypothesis strategies over the whole design space, valid and invalid."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sqgen.errors import DesignError
from sqgen.generator.design import Design
from sqgen.generator.design_fields import (
    BACKENDS,
    CLASSIFIER_FILLERS,
    CONCAT_ORDERS,
    FIELDS,
    FILLERS,
    NAMINGS,
    STEMS,
    STYLES,
    VERSIONS,
)
from sqgen.nets.solver_rules import POLICIES, SOLVERS

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./+ -]{0,20}", fullmatch=True)
PATHS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
BYPASSES = st.one_of(
    st.sampled_from(["none", "simple", "complex"]),
    st.dictionaries(st.integers(2, 10), st.sampled_from(["", ":conv"]), min_size=1).map(
        lambda placed: ",".join(f"{module}{kind}" for module, kind in placed.items())
    ),
)
SIZES = st.integers(1, 200)
FIRES = st.lists(st.tuples(SIZES, SIZES, SIZES), min_size=1, max_size=9).map(tuple)
INTERVALS = st.integers(1, 10**6)

STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "version": st.sampled_from(VERSIONS),
    "bypass": BYPASSES,
    "bypass_relu": st.booleans(),
    "fire_modules": st.integers(1, 12),
    "base_e": st.integers(2, 512),
    "incr_e": st.integers(0, 256),
    "freq": st.integers(1, 9),
    "pct3x3": st.floats(0, 1),
    "squeeze_ratio": st.floats(0, 1),
    "fires": st.none() | FIRES,
    "classes": st.integers(2, 1200),
    "size": st.integers(1, 300),
    "channels": st.integers(1, 6),
    "stem": st.none() | st.sampled_from(STEMS),
    "stem_filters": st.none() | st.integers(1, 128),
    "pool_after": st.none()
    | st.lists(st.integers(2, 9), max_size=3, unique=True).map(lambda x: tuple(sorted(x))),
    "dropout": st.floats(0, 0.99),
    "batch_norm": st.booleans(),
    "conv10_pad": st.none() | st.integers(0, 3),
    "classifier_relu": st.booleans(),
    "filler": st.sampled_from(FILLERS),
    "classifier_filler": st.sampled_from(CLASSIFIER_FILLERS),
    "infogain_file": st.just("") | PATHS,
    "explicit_pool10": st.booleans(),
    "concat_order": st.sampled_from(CONCAT_ORDERS),
    "name": st.none() | NAMES | st.just(""),
    "naming": st.none() | st.sampled_from(NAMINGS),
    "style": st.sampled_from(STYLES),
    "classifier": st.none() | NAMES,
    "classifier_lr": st.none() | st.floats(0, 100),
    "deploy_batch": st.none() | st.integers(1, 64),
    "train_source": PATHS,
    "val_source": PATHS,
    "backend": st.sampled_from(BACKENDS),
    "batch_size": st.integers(1, 64),
    "val_batch_size": st.integers(1, 64),
    "mean_values": st.none() | st.lists(st.floats(-300, 300), max_size=4).map(tuple),
    "mean_file": st.just("") | PATHS,
    "scale": st.floats(-10, 10),
    "crop": st.booleans(),
    "mirror": st.booleans(),
    "effective_batch": st.integers(1, 64),
    "gpus": st.integers(1, 4),
    "iter_size": st.none() | st.integers(1, 64),
    "val_images": INTERVALS,
    "test_iter": st.none() | INTERVALS,
    "test_interval": INTERVALS,
    "test_initialization": st.booleans(),
    "solver_type": st.sampled_from(SOLVERS),
    "base_lr": st.floats(0, 10),
    "lr_policy": st.sampled_from(sorted(POLICIES)),
    "gamma": st.none() | st.floats(-2, 2, width=32),
    "power": st.floats(-2, 2),
    "stepsize": st.none() | INTERVALS,
    "stepvalues": st.lists(INTERVALS, max_size=4, unique=True).map(lambda x: tuple(sorted(x))),
    "max_iter": INTERVALS,
    "momentum": st.floats(0, 0.99),
    "weight_decay": st.floats(0, 1),
    "display": st.integers(0, 1000),
    "average_loss": st.integers(1, 1000),
    "snapshot": st.integers(0, 10**6),
    "snapshot_prefix": PATHS,
    "random_seed": st.integers(-1, 2**40),
    "cpu": st.booleans(),
    "net_path": PATHS,
}
assert sorted(STRATEGIES) == sorted(FIELDS), "a field without a strategy"


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Some options, by themselves in range; together they may make no net."""
    chosen = draw(st.lists(st.sampled_from(sorted(STRATEGIES)), max_size=12, unique=True))
    return {name: draw(STRATEGIES[name]) for name in chosen}


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Legal designs: an option that makes no net beside those drawn before it is left out."""
    design = Design()
    for name, value in draw(options()).items():
        try:
            design = design.with_options(**{name: value})
        except DesignError:
            continue
    return design
