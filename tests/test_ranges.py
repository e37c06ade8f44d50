"""Ranges of quantizers: histograms, and what is best in them, against the numbers themselves."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine.histograms import SIDE, HistogramCounter  # noqa: E402
from sqgen.engine.quantizers import Uniform  # noqa: E402
from sqgen.engine.ranges import Counted, Numbers, Rows, find_range, uniform  # noqa: E402
from sqgen.engine.weight_quantizers import follow  # noqa: E402

Array = np.ndarray[Any, Any]


def numbers(seed: int, size: int = 5000, positive: bool = False) -> Array:
    """Numbers with long tails, and some zeros."""
    random = np.random.default_rng(seed)
    values = random.laplace(0, 1, size) * random.uniform(0.01, 30)
    values[random.integers(0, size, size // 9)] = 0
    return np.asarray(np.abs(values) if positive else values)


def count(parts: list[Array]) -> HistogramCounter:
    counter = HistogramCounter()
    for part in parts:
        counter.add(torch.from_numpy(part))
    return counter


def counted(values: Array) -> Counted:
    return Counted(count([values]).histogram())


def in_rows(values: Array) -> Rows:
    return Rows(torch.from_numpy(values)[None])


def assert_same(counter: HistogramCounter, other: HistogramCounter) -> None:
    for a, b in zip(counter.histogram(), other.histogram(), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 99), st.integers(1, 9), st.floats(-30, 30))
def test_a_histogram_depends_on_no_order(seed: int, parts: int, power: float) -> None:
    values = numbers(seed) * 2.0**power
    whole = count([values])
    assert_same(whole, count(np.array_split(values, parts)))
    assert_same(whole, count(np.array_split(values, parts)[::-1]))
    found = whole.histogram()
    width = float(found.middles[1] - found.middles[0])
    edges = (np.arange(2 * SIDE + 1) - SIDE) * width
    assert np.array_equal(found.counts, np.histogram(values[values != 0], edges)[0])
    assert (found.low, found.high, found.zeros) == (
        values.min(),
        values.max(),
        (values == 0).sum(),
    )
    assert np.abs(values).max() / width > SIDE / 2 - 1  # fine enough


def test_threads_may_count_together() -> None:
    parts = np.array_split(numbers(3, 20000), 8)
    counter = HistogramCounter()
    threads = [Thread(target=counter.add, args=(torch.from_numpy(part),)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(counter, count(parts))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_range(bad: float) -> None:
    counter = count([np.array([1.0, bad]), np.array([3.0])])
    assert np.isnan([counter.low, counter.high]).all()


def error(values: Array, quantizer: Uniform) -> float:
    return float(((quantizer.quantize(torch.from_numpy(values)).numpy() - values) ** 2).sum())


def divergence(values: Array, quantizer: Uniform) -> float:
    """Of the histogram from the quantized one, bin by bin."""
    histogram = count([values]).histogram()
    counts, middles = histogram.counts.numpy(), histogram.middles.numpy()
    level = quantizer.quantize(histogram.middles).numpy().reshape(-1)
    low, high = (float(bound) for bound in quantizer.bounds)
    bins = [place for place in range(len(counts)) if low <= middles[place] <= high]
    p = {place: counts[place] for place in bins}
    p[bins[0]] += counts[middles < middles[bins[0]]].sum()
    p[bins[-1]] += counts[middles > middles[bins[-1]]].sum()
    members: dict[float, list[int]] = {}
    for place in bins:
        if counts[place]:
            members.setdefault(level[place], []).append(place)
    q = {
        place: np.mean([counts[other] for other in group])
        for group in members.values()
        for place in group
    }
    total, inside = sum(p.values()), sum(q.values())
    return float(
        sum(
            share / total * np.log(share / total / (q[place] / inside if place in q else 1e-4))
            for place, share in p.items()
            if share
        )
    )


@pytest.mark.parametrize("rule", ["mse", "mse of rows", "kl"])
@pytest.mark.parametrize("kind", ["symmetric", "unsigned", "asymmetric"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_range_is_the_best_that_was_tried(rule: str, kind: str, bits: int) -> None:
    values = numbers(bits, positive=kind == "unsigned")
    if kind == "asymmetric":
        values = np.where(values < 0, values / 3, values)
    signed, kind = kind != "unsigned", kind.replace("unsigned", "symmetric")
    known: Numbers = in_rows(values) if "rows" in rule else counted(values)
    rule = rule[:3].strip()

    def cost(limits: Any) -> float:
        quantizer = uniform(kind, limits, bits, signed)
        return error(values, quantizer) if rule == "mse" else divergence(values, quantizer)

    whole = find_range(known, "max", kind, bits, signed, 99.99)
    tried = [
        tuple(limit * 2 ** (-k / 8) for limit in whole)
        for k in range(0, 48, 12 if rule == "kl" else 3)
    ]
    best = min(cost(limits) for limits in tried)
    found = cost(find_range(known, rule, kind, bits, signed, 99.99))
    assert found <= best * 1.01 + 1e-9
    if rule == "mse" and bits < 5:  # what the search is for
        assert found < 0.9 * cost(whole)


@pytest.mark.parametrize("percentile", [99.0, 90.0, 100.0])
@pytest.mark.parametrize("known", [counted, in_rows])
def test_a_percentile_has_that_share(known: Callable[[Array], Numbers], percentile: float) -> None:
    values = numbers(7)
    width = np.abs(values).max() / (SIDE / 2)

    def check(found: Any, of: Array, share: float) -> None:
        ordered = np.sort(of)
        rank = share * (len(ordered) - 1)
        below, above = max(0, int(rank) - 1), min(len(ordered) - 1, int(rank) + 2)
        assert ordered[below] - width <= float(found) <= ordered[above] + width

    _, limit = find_range(known(values), "percentile", "symmetric", 8, True, percentile)
    check(limit, np.abs(values), percentile / 100)
    low, high = find_range(known(values), "percentile", "asymmetric", 8, True, percentile)
    check(low, values, (100 - percentile) / 200)
    check(high, values, (100 + percentile) / 200)


@pytest.mark.parametrize("rule", ["max", "percentile", "mse"])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_rows_are_found_alone_as_together(rule: str, kind: str) -> None:
    rows = np.stack([numbers(seed, 700) for seed in range(9)])
    together = find_range(Rows(torch.from_numpy(rows)), rule, kind, 3, True, 99.9)
    for row in range(9):
        alone = find_range(in_rows(rows[row]), rule, kind, 3, True, 99.9)
        assert [float(limit) for limit in alone] == [float(limit[row]) for limit in together]


@pytest.mark.parametrize("make", [np.zeros, np.ones, lambda size: -np.ones(size)])
@pytest.mark.parametrize("rule", ["max", "percentile", "mse", "kl"])
def test_numbers_that_are_all_the_same(make: Callable[[int], Array], rule: str) -> None:
    values = make(50).astype(np.float32)
    for kind in ("symmetric", "asymmetric"):
        for known in (counted(values), in_rows(values))[: 1 + (rule != "kl")]:
            limits = find_range(known, rule, kind, 4, True, 99.99)
            quantized = uniform(kind, limits, 4, True).quantize(torch.tensor(values)[None])
            np.testing.assert_allclose(quantized.numpy()[0], values, rtol=1e-3)


def test_shared_values_move_to_the_mean_of_their_weights() -> None:
    values = torch.tensor([-1.0, 0.0, 1.0, 9.0]).double()
    moved = follow(values, torch.tensor([[-1.5, -0.7], [0.2, 0.8], [1.4, 0.9]]))
    np.testing.assert_allclose(moved, [-1.1, 0, (0.8 + 1.4 + 0.9) / 3, 9], rtol=1e-6)
