"""Budgets of bytes: the very .sqz file of the pruned net is within them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import Design, build, parse_net
from sqgen.pruning.budgets import Budget
from sqgen.pruning.costs import NetCosts
from sqgen.pruning.decisions import RatioRules
from sqgen.pruning.job import PruningJob, Selection
from sqgen.pruning.prune import Pruner

from .conftest import Run
from .databases import make_lmdb, raw
from .small_nets import random_model, save

DESIGN = Design(
    fire_modules=3, base_e=32, incr_e=16, freq=2, squeeze_ratio=0.5, stem_filters=24, stem="small",
    size=32, crop=False, classes=7, bypass="simple", pool_after=(2,),
)  # fmt: skip
NET = build(DESIGN, "deploy")


def pruner(text: str = NET) -> Pruner:
    return Pruner(parse_net(text), [("w", random_model(text))])


def prune(tmp_path: Path, sqgen: Run, *options: object) -> Any:
    (tmp_path / "net.prototxt").write_text(NET)
    save(random_model(NET), tmp_path / "w.caffemodel")
    command = ("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "small", "--no-proof")
    return sqgen(*command, *options)


@pytest.mark.parametrize(
    ("options", "with_images"),
    [
        (("--bytes", "0.5"), False),
        (("--bytes", "4000", "--bits", "3"), False),
        (("--bytes", "0.6", "--bits", "4", "--by", "uniform"), True),
        (("--bytes", "0.6", "--bits", "4", "--by", "random", "--trials", "4"), True),
    ],
)
def test_the_file_is_within_the_budget(
    tmp_path: Path, sqgen: Run, options: tuple[str, ...], with_images: bool
) -> None:
    if with_images:
        pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")
        make_lmdb(tmp_path / "lmdb", [raw(number, 3, 32, 32) for number in range(5)])
        options = (*options, "--data", "lmdb")
    done = prune(tmp_path, sqgen, *options, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    data = (tmp_path / "small" / "pruned.sqz").read_bytes()
    assert "pruned.sqz" in result["files"]
    assert result["bytes"]["after"] == len(data)
    budget = float(options[1])
    limit = budget if budget > 1 else budget * result["bytes"]["before"]
    assert 0.98 * limit <= len(data) <= limit
    encoded = sqgen(
        *("compress", "encode", "small/pruned.caffemodel", "--net", "small/deploy.prototxt"),
        *("-o", "again.sqz", *(options[2:4] if "--bits" in options else ())),
    )
    assert encoded.returncode == 0, encoded.stderr
    assert (tmp_path / "again.sqz").read_bytes() == data


@pytest.mark.parametrize(("share", "macs"), [(0.8, 0.4), (0.4, 0.8)])
def test_several_budgets_hold_all(share: float, macs: float) -> None:
    whole = pruner()
    costs = NetCosts(whole.groups)
    budgets = [Budget(costs.macs, macs), Budget(whole.byte_costs(bits=4), share)]
    job = PruningJob(whole, Selection(RatioRules(), "l1-inputs"), budgets)
    spent = job.spent(job.run())
    used = [
        each.after / each.before / limit for each, limit in zip(spent, (macs, share), strict=True)
    ]
    assert 0.98 <= max(used) <= 1
    assert min(used) < 0.9


def test_an_estimate_that_is_far_off_is_corrected() -> None:
    """Weights of few values take fewer bytes each than those of other layers, which go."""
    whole = pruner()
    for name in ("fire2/expand3x3", "fire3/expand3x3"):  # where channels are equal, they are tied
        weights = whole.arrays[name][0]
        weights[: len(weights) // 2] = np.sign(weights[: len(weights) // 2])
        weights[len(weights) // 2 :] *= 100  # kept
    costs = whole.byte_costs(bits=4)
    job = PruningJob(whole, Selection(RatioRules(), "l1-filters"), [Budget(costs, 0.5)])
    done = job.run()
    (spent,) = job.spent(done)
    assert 0.98 <= spent.after / spent.before / 0.5 <= 1


def test_estimates_are_exact_of_what_was_counted() -> None:
    whole = pruner()
    costs = whole.byte_costs()
    assert costs.cost(()) == costs.exact(())
    roots = [root for decision in whole.decisions for root in decision.roots[1:]]
    estimates = [costs.cost(roots[:count]) for count in range(0, len(roots), 9)]
    assert estimates == sorted(estimates, reverse=True)
    assert costs.exact(roots) < 0.1 * costs.exact(())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bytes", "1e6"), "--bytes 1,000,000: the whole net has "),
        (("--bytes", "300"), "--bytes 300: can't be met; "),
        (("--bytes", "70%"), "--bytes 70%: write 0.7"),
        (("--bytes", "-1"), "--bytes -1: give a share of the net's bytes, such as 0.7"),
        (("--bytes", "0.5", "--bits", "9"), "9 bits: a shared weight has 2 to 8"),
        (("--macs", "0.5", "--bits", "4"), "--bits: of weights in the .sqz file; give --bytes"),
        (("--bytes", "300", "--bits", "4"), "--bytes 300 --bits 4: can't be met; "),
        (("--macs", "many"), "--macs many: give a share of the net's MACs, such as 0.7"),
        (("--macs", "inf"), "--macs inf: give a share of the net's MACs, such as 0.7"),
        (("--macs", "170%"), "--macs 170%: give a share of the net's MACs, such as 0.7"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, sqgen: Run, options: tuple[str, ...], message: str
) -> None:
    done = prune(tmp_path, sqgen, *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
    assert not (tmp_path / "small").exists()


def test_the_nearest_budget_that_can_be_met_is_met(tmp_path: Path, sqgen: Run) -> None:
    refused = prune(tmp_path, sqgen, "--bytes", "300").stderr
    least = refused.split("can't be met; ")[1].split(" bytes")[0].replace(",", "")
    done = prune(tmp_path, sqgen, "--bytes", least)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "small" / "pruned.sqz").stat().st_size == int(least)
