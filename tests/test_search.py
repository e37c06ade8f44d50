"""Searches within a budget: what they find, their journal, and going on after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import json_form
from sqgen.errors import DesignError, FormatError, OutputError
from sqgen.progress import no_bar
from sqgen.search.episodes import ActionWall, TakeBack, take_back
from sqgen.search.journal import JOURNAL, Journal, Trial, Trials, read_journal
from sqgen.search.knapsack import choose_levels, solve_program
from sqgen.search.methods import METHODS, least_trials
from sqgen.search.problem import EvenLevels, LossProposals, LossTable, fill, replace, scale
from sqgen.search.run import Search
from sqgen.tools import search_options


class Knapsack(EvenLevels):
    """Costs and gains of each unit; a score is what is missing of all gains."""

    def __init__(
        self, most: Sequence[int], costs: Sequence[float], gains: Sequence[float], share: float
    ) -> None:
        self.most, self.least = tuple(most), (1,) * len(most)
        self._costs, self._gains = costs, gains
        self._budget = max(share * self._cost(self.most), self._cost(self.least))
        self.scored = 0
        self.features = list(zip(self.most, costs, gains, strict=True))

    def exact_losses(self) -> LossTable:
        """The losses of each decision alone."""
        levels = [np.arange(1, most + 1) for most in self.most]
        losses = [
            np.array([self._loss(replace(self.most, place, level)) for level in own.tolist()])
            for place, own in enumerate(levels)
        ]
        return LossTable(levels, losses)

    def _cost(self, choice: Sequence[int]) -> float:
        return sum(cost * count for cost, count in zip(self._costs, choice, strict=True))

    def use(self, choice: Sequence[int]) -> float:
        return self._cost(choice) / self._budget

    def fits(self, choice: Sequence[int]) -> bool:
        return self.use(choice) <= 1

    def score(self, choice: Sequence[int]) -> float:
        self.scored += 1
        return self._loss(choice)

    def _loss(self, choice: Sequence[int]) -> float:
        rows = zip(self._gains, choice, self.most, strict=True)
        return float(sum(gain * (1 - count / most) ** 2 for gain, count, most in rows))


problems = st.integers(2, 4).flatmap(
    lambda count: st.builds(
        Knapsack,
        st.lists(st.integers(2, 9), min_size=count, max_size=count),
        st.lists(st.integers(1, 9), min_size=count, max_size=count),
        st.lists(st.integers(1, 9), min_size=count, max_size=count),
        st.floats(0.3, 0.9),
    )
)


@given(problems, st.data())
def test_a_choice_along_shares_fits_and_nothing_more_does(
    problem: Knapsack, data: st.DataObject
) -> None:
    count = len(problem.most)
    shares = data.draw(st.lists(st.floats(0.05, 1), min_size=count, max_size=count))
    choice = fill(problem, scale(problem, shares), range(count))
    assert problem.fits(choice)
    for place in range(count):
        more = [*choice[:place], choice[place] + 1, *choice[place + 1 :]]
        assert more[place] > problem.most[place] or not problem.fits(more)


@given(problems, st.data())
def test_the_wall_keeps_an_agent_within_the_budget(problem: Knapsack, data: st.DataObject) -> None:
    """Whatever it wants, and it gets no less than what it wants where that fits."""
    wall = ActionWall(problem)
    choice = wall.start
    for place, most in enumerate(problem.most):
        share = data.draw(st.floats(0, 1))
        value = wall.level(choice, place, share)
        choice = replace(choice, place, value)
        assert problem.fits(choice)
        wanted = min(most, max(wall.start[place], round(share * most)))
        assert value == wanted or not problem.fits(replace(choice, place, value + 1))


def test_bits_are_taken_back_from_the_last_layer_on() -> None:
    """HAQ's walk, by hand: costs 1, 2 and 3 a level, of which 20 of 36 may be taken."""
    problem = Knapsack([6, 6, 6], [1, 2, 3], [1, 1, 1], 20 / 36)
    levels = [problem.units(place) for place in range(3)]
    # 36, off the last: 33, 31, 30; again 27, 25, 24; again 21, 19.
    assert take_back(problem, (6, 6, 6), levels) == (4, 3, 3)
    assert take_back(problem, (6, 1, 6), levels) == (5, 1, 4)  # 26, 23, -, 22, 19: one is least
    assert take_back(problem, (1, 2, 3), levels) == (1, 2, 3)  # fits


@given(problems, st.data())
def test_what_is_taken_back_fits(problem: Knapsack, data: st.DataObject) -> None:
    way = TakeBack(problem)
    choice = way.start
    for place in range(len(problem.most)):
        share = data.draw(st.floats(0, 1))
        choice = replace(choice, place, way.level(choice, place, share))
    made = way.end(choice, np.random.default_rng(0))
    assert problem.fits(made)
    assert all(
        least <= new <= old for least, new, old in zip(problem.least, made, choice, strict=True)
    )
    assert made == choice or not problem.fits(choice)


def test_haqs_rule_gives_all_numbers_of_bits_an_equal_part_of_the_actions() -> None:
    problem = Knapsack([8], [1], [1], 1)
    problem.least = (2,)
    way = TakeBack(problem)
    levels = [way.level((2,), 0, (index + 0.5) / 700) for index in range(700)]
    assert [levels.count(level) for level in range(2, 9)] == [100] * 7
    assert all(way.level((2,), 0, way.share(0, level)) == level for level in range(2, 9))


def test_haqs_bits_are_whole_where_these_fit() -> None:
    """Whole units are levels 2 and 6: two of 2 fit in 4 levels, and not in 3."""
    for share, step in ((8 / 12, 4), (3 / 12, 1)):
        problem = Quarters([6, 6], [1, 1], [1, 1], share)
        way = TakeBack(problem)
        choice = way.start
        for place, wanted in enumerate((1.0, 0.4)):
            choice = replace(choice, place, way.level(choice, place, wanted))
        made = way.end(choice, np.random.default_rng(0))
        assert problem.fits(made)
        assert all((level - 2) % step == 0 for level in made)


class Quarters(Knapsack):
    """One whose whole units are levels 2 and 6."""

    def units(self, place: int) -> range:
        return range(2, 7, 4)


groups_of_items = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4),
    min_size=1,
    max_size=5,
)


@given(groups_of_items, st.integers(0, 40))
def test_the_program_finds_what_brute_force_finds(
    groups: list[list[tuple[int, int]]], budget: int
) -> None:
    costs, losses = (
        [np.array([item[part] for item in group], float) for group in groups] for part in (0, 1)
    )
    picked = solve_program(costs, losses, budget)

    def total(values: list[np.ndarray], items: Sequence[int]) -> float:
        return float(sum(own[item] for own, item in zip(values, items, strict=True)))

    every = product(*(range(len(group)) for group in groups))
    fitting = [total(losses, items) for items in every if total(costs, items) <= budget]
    if fitting:
        assert total(costs, picked) <= budget
        assert total(losses, picked) == min(fitting)
    else:
        assert total(costs, picked) == sum(min(own) for own in costs)


@given(problems)
def test_levels_by_their_exact_losses_are_the_best_choice(problem: Knapsack) -> None:
    choice = choose_levels(problem, problem.exact_losses())
    every = product(*(range(1, most + 1) for most in problem.most))
    best = min(problem.score(each) for each in every if problem.fits(each))
    assert problem.fits(choice)
    assert problem.score(choice) == pytest.approx(best)


def test_an_agent_learns_which_decisions_matter(tmp_path: Path) -> None:
    """Of 140 trials, the last aim at the optimum, whose score is 0.11."""
    problem = Knapsack((64, 64, 64), (2, 1, 2), (0.1, 4, 1), 0.56)
    journal = Journal(tmp_path / "trials.jsonl", {}, False)
    with no_bar(140) as bar:
        best = Search("ddpg", 140, 1).run(problem, journal, bar)
    scores = [trial.score for trial in journal.trials]
    assert problem.score(best) < 0.17
    assert np.mean(scores[-20:]) < 0.25 * np.mean(scores[:35])


def test_the_command_names_all_methods() -> None:
    """It names them itself, since their module loads NumPy."""
    assert list(METHODS) == list(search_options.METHODS)


AGENTS = ("ddpg", "haq")  # learn in each trial, also when they go on


@pytest.mark.parametrize("method", sorted(METHODS))
def test_all_methods_stay_within_the_budget(method: str, tmp_path: Path) -> None:
    problem = Knapsack((8, 6, 9, 5), (3, 1, 2, 5), (1, 9, 2, 3), 0.6)
    journal = Journal(tmp_path / "trials.jsonl", {}, False)
    trials = 20 if method in AGENTS else 60
    with no_bar(trials) as bar:
        best = Search(method, trials, 1).run(problem, journal, bar)
    assert problem.fits(best)
    assert len(journal.trials) <= trials
    assert min(t.score for t in journal.trials if problem.fits(t.choice)) == problem.score(best)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(
    ("most", "share"), [((9,), 0.5), ((9,), 1.0), ((1, 1), 1.0), ((2, 1), 0.1)]
)
def test_a_search_with_little_to_decide_ends(
    method: str, most: tuple[int, ...], share: float, tmp_path: Path
) -> None:
    problem = Knapsack(most, most, most, share)
    with no_bar(12) as bar:
        best = Search(method, 12, 1).run(problem, Journal(tmp_path / "t", {}, False), bar)
    every = product(*(range(1, count + 1) for count in most))
    assert problem.score(best) == min(problem.score(each) for each in every if problem.fits(each))


def test_greedy_steps_where_no_decision_saves_enough(tmp_path: Path) -> None:
    """Each step asks for a third of the cost, and no decision has more than a quarter of it."""
    problem = Knapsack((8,) * 6, (3, 2, 3, 3, 3, 3), (9, 9, 0.1, 9, 0.2, 9), 0.3)
    journal = Journal(tmp_path / "t", {}, False)
    with no_bar(13) as bar:
        best = Search("greedy", 13, 1).run(problem, journal, bar)
    assert len(journal.trials) == 13
    assert max(best[2], best[4]) < min(best[0], best[1], best[3], best[5])
    assert problem.score(best) < problem.score(Search("uniform", 1, 0).first(problem))


@pytest.mark.parametrize("method", ["greedy", "evolution", "knapsack"])
def test_searches_come_near_the_best_that_there_is(method: str, tmp_path: Path) -> None:
    problem = Knapsack((8, 6, 9, 5), (3, 1, 2, 5), (1, 9, 2, 3), 0.6)
    every = product(*(range(1, most + 1) for most in problem.most))
    optimum = min(problem.score(choice) for choice in every if problem.fits(choice))
    even = problem.score(Search("uniform", 1, 0).first(problem))
    with no_bar(200) as bar:
        best = Search(method, 200, 1).run(problem, Journal(tmp_path / "t", {}, False), bar)
    assert problem.score(best) - optimum <= 0.25 * (even - optimum)


@pytest.mark.parametrize("method", ["greedy", "knapsack"])
def test_trials_that_are_too_few_are_refused_before_any(method: str, tmp_path: Path) -> None:
    """With the least number that is not refused, a choice within the budget is found."""
    problem = Knapsack((8, 6, 9, 5), (3, 1, 2, 5), (1, 9, 2, 3), 0.6)
    least = least_trials(method, problem)
    with pytest.raises(DesignError, match=f"--trials {least - 1}: .*; give {least} or more"):
        Search(method, least - 1, 1).check(problem)
    Search(method, least, 1).check(problem)
    with no_bar(least) as bar:
        best = Search(method, least, 1).run(problem, Journal(tmp_path / "t", {}, False), bar)
    assert problem.fits(best)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_killed_search_goes_on_to_the_same_end(method: str, tmp_path: Path) -> None:
    trials = 12 if method in AGENTS else 30

    def run(name: str, resume: bool) -> tuple[tuple[int, ...], int]:
        problem = Knapsack((8, 6, 9, 5), (3, 1, 2, 5), (1, 9, 2, 3), 0.6)
        journal = Journal(tmp_path / name, {"seed": 1}, resume)
        with no_bar(trials) as bar:
            return Search(method, trials, 1).run(problem, journal, bar), problem.scored

    whole, scored = run("whole", False)
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    choices = [json.loads(line)["choice"] for line in lines[1:]]
    for cut in (0, 5, 40):
        kept = 1 + min(cut, len(lines) - 1)
        (tmp_path / "cut").write_text("".join(lines[:kept]) + lines[-1][:9])
        again, rest = run("cut", True)
        assert again == whole
        assert rest <= scored
        rows = (tmp_path / "cut").read_text().splitlines()[1:]
        assert [json.loads(row)["choice"] for row in rows] == choices


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    Journal(path, {"seed": 1}, False).add(Trial((1, 2), 0.5, 0.1, 0.9))
    with pytest.raises(OutputError, match="exists already; --resume goes on with it"):
        Journal(path, {"seed": 1}, False)
    with pytest.raises(FormatError, match="is of a search with seed 1, not 2"):
        Journal(path, {"seed": 2}, True)
    assert Journal(path, {"seed": 1}, True).trials == [Trial((1, 2), 0.5, 0.1, 0.9)]


BAD_TRIALS = (
    '{"choice": 3}',
    '{"choice": [1e999], "score": 1, "seconds": 1, "use": 1}',
    '{"choice": [1], "score": NaN, "seconds": 1, "use": 1}',
    '{"choice": [1], "score": 1, "seconds": 1}',
)


@pytest.mark.parametrize(
    "text",
    ["", "x\n", "[]\n", "\x00\n", *(f'{{"format": 2}}\n{line}\n' for line in BAD_TRIALS)],
)
def test_a_damaged_journal_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "trials.jsonl").write_text(text)
    with pytest.raises(FormatError, match="is no journal of a search, or damaged"):
        Journal(tmp_path / "trials.jsonl", {}, True)


def test_two_searches_never_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    first = Journal(path, {"seed": 1}, False)
    with pytest.raises(OutputError, match="another search writes it"):
        Journal(path, {"seed": 1}, True)
    first.add(Trial((1, 2), 0.5, 0.1, 0.9))
    assert len(path.read_text().splitlines()) == 2
    del first
    assert len(Journal(path, {"seed": 1}, True).trials) == 1


def test_a_journal_is_read_while_its_search_goes_on(tmp_path: Path) -> None:
    path, about = tmp_path / "trials.jsonl", {"by": "random", "trials": 9, "seed": 1}
    journal = Journal(path, about, False)
    trials = [Trial((1, 2), math.inf, 0.1, 0.9), Trial((2, 2), 0.25, 0.1, 1.1)]
    for trial in trials:
        journal.add(trial)
    with path.open("a") as file:
        file.write('{"choice": [1')  # being written
    assert read_journal(path) == (about, trials)
    path.write_text(path.read_text().replace('{"format": 2', '{"format": 1'))
    with pytest.raises(FormatError, match="is the journal of another version of sqgen"):
        read_journal(path)


def test_a_score_that_is_no_number_is_the_worst(tmp_path: Path) -> None:
    class Broken(Knapsack):
        def score(self, choice: Sequence[int]) -> float:
            score = super().score(choice)
            return math.nan if self.scored % 2 else score

    problem = Broken((8, 6, 9, 5), (3, 1, 2, 5), (1, 9, 2, 3), 0.6)
    path = tmp_path / "trials.jsonl"
    with no_bar(20) as bar:
        best = Search("random", 20, 1).run(problem, Journal(path, {}, False), bar)
    _, *trials = map(json_form.loads, path.read_bytes().splitlines())
    scores = {tuple(trial["choice"]): float(trial["score"]) for trial in trials}
    assert math.inf in scores.values()
    assert scores[best] == min(scores.values()) < math.inf
    assert len(Journal(path, {}, True).trials) == 20


def test_what_a_knapsack_has_left_refines_its_choice(tmp_path: Path) -> None:
    """Losses that don't add up: pairs of decisions lose more together than alone."""

    class Pairs(Knapsack):
        def score(self, choice: Sequence[int]) -> float:
            alone = super().score(choice)
            missing = [1 - count / most for count, most in zip(choice, self.most, strict=True)]
            return alone + 9 * sum(a * b for a, b in zip(missing[::2], missing[1::2], strict=True))

    problem = Pairs([7] * 6, [1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6], 0.6)
    found = {}
    for trials in (6 * 7 + 6, 6 * 7 + 6 + 7 * 12):
        with no_bar(trials) as bar:
            journal = Journal(tmp_path / f"{trials}.jsonl", {}, False)
            choice = Search("knapsack", trials, 0).run(problem, journal, bar)
        assert len(journal.trials) <= trials
        found[trials] = problem.score(choice)
    few, many = found.values()
    best = min(map(problem.score, filter(problem.fits, product(range(1, 8), repeat=6))))
    assert best <= many < few


def test_where_losses_are_expected_a_knapsack_tries_no_decision_alone(tmp_path: Path) -> None:
    class Expecting(Knapsack):
        expects_losses = True

        def losses_alone(self, count: int) -> LossProposals:
            yield from ()
            return self.exact_losses()

    problem = Expecting((8, 6, 9, 5), (3, 1, 2, 5), (1, 9, 2, 3), 0.6)
    search = Search("knapsack", 1, 0)
    search.check(problem)
    with no_bar(1) as bar:
        best = search.run(problem, Journal(tmp_path / "t", {}, False), bar)
    assert (
        best
        == Search("fisher", 1, 0).first(problem)
        == choose_levels(problem, problem.exact_losses())
    )
    assert problem.scored == 1


def test_scores_of_another_search_are_not_scored_again(tmp_path: Path) -> None:
    problem = Knapsack([5, 5, 5], [1, 2, 3], [3, 2, 1], 0.5)
    about = {"by": "random", "trials": 9, "seed": 1, "budgets": ["--a 1"], "net": "n"}
    other = {**about, "by": "knapsack", "budgets": ["--a 2"]}
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, search, words, known in (
        (first, Search("random", 9, 1), about, ()),
        (second, Search("random", 9, 1), other, (first,)),
    ):
        folder.mkdir()
        scored = problem.scored
        with no_bar(9) as bar:
            journal = Trials(folder, False, known).open(words)
            search.run(problem, journal, bar)
        assert (problem.scored > scored) == (not known)
    assert read_journal(first / JOURNAL)[1][0].score == read_journal(second / JOURNAL)[1][0].score
    with pytest.raises(FormatError, match="is of a search with net n, not m; its scores mean"):
        Trials(tmp_path / "third", False, (first,)).open({**about, "net": "m"})
    assert not (tmp_path / "third").exists()
