"""An agent that learns to choose: deep deterministic policy gradient, as AMC and HAQ use it.

He et al., arXiv:1802.03494, with the numbers of its released code (mit-han-lab/amc, lib/agent.py
and amc_search.py): decisions in order, a state and a share for each, one reward in the end for all.
How the agent is kept within a budget is a matter of `episodes.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from inspect import unwrap
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .episodes import Episodes, States
from .problem import Choice, Problem, Proposals, replace

HIDDEN = 300
ACTOR_RATE, CRITIC_RATE = 1e-4, 1e-3
TARGET_SHARE = 0.01  # by which target networks follow, each update
BATCH = 64
REPLAY = 100  # episodes that are remembered
NOISE = 0.5  # standard deviation of shares in the first episode after the warm-up
BASELINE_DECAY = 0.5  # of the mean of rewards


class Transition(NamedTuple):
    """A decision of an episode.

    Attributes:
        state, after: the state before, and the next decision's.
        share: that was decided.
        score: of the episode.
        is_last: whether the episode ended.
    """

    state: np.ndarray
    share: float
    score: float
    after: np.ndarray
    is_last: bool


class _Adam(torch.optim.Adam):
    """Adam, without PyTorch's compiler, which takes longer to import than a short search takes."""

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class Agent:
    """An actor that says the share of a state, and a critic that says what it is worth.

    Args:
        size: numbers of a state.
        seed: of the first weights.

    Attributes:
        unit: of scores: the reward is exp(-score / unit), from 0 to 1 whatever scores are.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.unit = 1.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._actor, self._critic = Actor(size), Critic(size)
        self._actor_target, self._critic_target = deepcopy(self._actor), deepcopy(self._critic)
        self._actor_optimizer = _Adam(self._actor.parameters(), ACTOR_RATE)
        self._critic_optimizer = _Adam(self._critic.parameters(), CRITIC_RATE)
        self._baseline: float | None = None

    def share(self, state: np.ndarray) -> float:
        """Return the share of a state, without noise."""
        with torch.no_grad():
            return float(self._actor(torch.from_numpy(state)[None]))

    def update(self, batch: Sequence[Transition]) -> None:
        """Learn from transitions."""
        scores = np.array([each.score for each in batch], dtype=np.float32)
        rewards = np.exp(-scores / np.float32(self.unit))
        mean = float(rewards.mean())
        if self._baseline is None:
            self._baseline = mean
        else:
            self._baseline += (1 - BASELINE_DECAY) * (mean - self._baseline)
        states, afters = (
            torch.from_numpy(np.stack([getattr(each, name) for each in batch]))
            for name in ("state", "after")
        )
        shares, goes_on = (
            torch.tensor(values, dtype=torch.float32)[:, None]
            for values in ([each.share for each in batch], [not each.is_last for each in batch])
        )
        with torch.no_grad():
            later = self._critic_target(afters, self._actor_target(afters))
            worth = torch.from_numpy(rewards - self._baseline)[:, None] + goes_on * later
        _step(self._critic_optimizer, nn.functional.mse_loss(self._critic(states, shares), worth))
        _step(self._actor_optimizer, -self._critic(states, self._actor(states)).mean())
        _follow(self._actor_target, self._actor)
        _follow(self._critic_target, self._critic)


class Actor(nn.Module):
    """State -> share, (batch, 1)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        hidden = nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        self._layers = nn.Sequential(*hidden, nn.Linear(HIDDEN, 1), nn.Sigmoid())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return shares from 0 to 1."""
        shares: torch.Tensor = self._layers(states)
        return shares


class Critic(nn.Module):
    """State and share -> worth, (batch, 1)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._of_state, self._of_share = nn.Linear(size, HIDDEN), nn.Linear(1, HIDDEN)
        self._rest = nn.Sequential(
            nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        )

    def forward(self, states: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Return what shares are worth."""
        worth: torch.Tensor = self._rest(self._of_state(states) + self._of_share(shares))
        return worth


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _follow(target: nn.Module, source: nn.Module) -> None:
    for own, other in zip(target.parameters(), source.parameters(), strict=True):
        own.data.lerp_(other.data, TARGET_SHARE)


def ddpg(
    episodes: Episodes, problem: Problem, random: np.random.Generator, trials: int
) -> Proposals:
    """Let an agent decide the shares, episode by episode, and learn from their scores."""
    states = States(problem, episodes)
    agent = Agent(states.size, int(random.integers(1 << 31)))
    memory: deque[Transition] = deque(maxlen=REPLAY * len(problem.most))
    warm_up = min(episodes.WARM_UP, trials // 4)
    for episode in range(trials):
        learned = episode - warm_up
        noise = None if learned < 0 else NOISE * episodes.NOISE_DECAY**learned
        choice = _episode(episodes, states, agent, noise, random)
        score = yield choice
        memory.extend(_transitions(episodes, states, choice, score))
        if learned < 0:
            agent.unit = _typical([each.score for each in memory])
        else:
            with _one_thread():
                for _ in problem.most:
                    drawn = random.integers(len(memory), size=BATCH)
                    agent.update([memory[index] for index in drawn])


def _episode(
    episodes: Episodes,
    states: States,
    agent: Agent,
    noise: float | None,
    random: np.random.Generator,
) -> Choice:
    """Decide one after the other.

    Args:
        noise: standard deviation of the shares, cut to 0..1; None draws them uniformly.
    """
    choice = episodes.start
    for place in range(len(choice)):
        if noise is None:
            share = random.uniform(episodes.LOWEST, 1)
        else:
            share = _truncated_normal(random, agent.share(states.before(place, choice)), noise)
        choice = replace(choice, place, episodes.level(choice, place, share))
    return episodes.end(choice, random)


def _truncated_normal(random: np.random.Generator, mean: float, deviation: float) -> float:
    """Draw from a normal distribution, cut to 0..1."""
    for _ in range(1000):
        drawn = random.normal(mean, deviation)
        if 0 <= drawn <= 1:
            return float(drawn)
    return min(1.0, max(0.0, mean))


def _transitions(
    episodes: Episodes, states: States, choice: Choice, score: float
) -> Iterator[Transition]:
    """Yield the decisions of an episode, with the shares that it ended with."""
    count = len(choice)
    seen = [states.before(place, choice) for place in range(count)]
    for place in range(count):
        share = episodes.share(place, choice[place])
        after = seen[min(place + 1, count - 1)]
        yield Transition(seen[place], share, score, after, place == count - 1)


def _typical(scores: Sequence[float]) -> float:
    """Return the median of the scores that are finite and above 0, or 1."""
    known = [score for score in scores if 0 < score < np.inf]
    return float(np.median(known)) if known else 1.0


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: as fast for so small networks, and the same on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
