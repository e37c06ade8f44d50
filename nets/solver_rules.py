"""Check the fields of a solver: what each type and policy needs, and what Caffe refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Final

from ..formats.schema import SolverParameter
from ..text import did_you_mean, number_text, printable
from .fork_types import FORK_POLICIES, whose_or_meant
from .imagenet import IMAGENET_CLASSES, IMAGENET_VALIDATION

# Learning rate policy -> the fields it uses (sgd_solver.cpp).
POLICIES = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}
# Fields with a minimum; below it, Caffe takes some and fails later.
_MINIMUM = {"gamma": 0, "test_interval": 0, "average_loss": 1, "iter_size": 1, "snapshot": 0}
# Solver type -> number of history blobs for each parameter blob (src/caffe/solvers/*.cpp).
HISTORY_BLOBS = {"SGD": 1, "Nesterov": 1, "AdaGrad": 1, "RMSProp": 1, "AdaDelta": 2, "Adam": 2}
SOLVERS = tuple(HISTORY_BLOBS)
# Those that divide a gradient by its own history, so that its scale does not matter.
ADAPTIVE_SOLVERS = frozenset({"AdaGrad", "RMSProp", "AdaDelta", "Adam"})


def lint_solver(solver: SolverParameter) -> Iterator[tuple[str, str]]:
    """Yield (rule, message) of each problem.

    Rule `solver` is for what Caffe refuses (solver.cpp, sgd_solver.cpp), `learning-rate` and
    `snapshots` for what it takes, though nobody means it.
    """
    policy = solver.lr_policy
    if policy not in POLICIES:
        hint = whose_or_meant(policy, POLICIES, FORK_POLICIES) or f"; one of {', '.join(POLICIES)}"
        yield "solver", f"no lr_policy '{printable(policy)}'{hint}"
    for field in POLICIES.get(policy, ()):
        if field == "stepsize" and solver.stepsize <= 0:
            yield "solver", f"lr_policy {policy} needs a positive stepsize"
        elif not getattr(solver, field):
            yield "learning-rate", f"lr_policy {policy} without {field}, which then counts as 0"
    if solver.type not in SOLVERS:
        yield "solver", f"no type '{printable(solver.type)}'{did_you_mean(solver.type, SOLVERS)}"
    if solver.type in ("AdaGrad", "RMSProp") and solver.momentum:
        yield "solver", f"{solver.type} takes no momentum"
    if solver.type == "RMSProp" and not 0 <= solver.rms_decay < 1:
        yield "solver", f"rms_decay {solver.rms_decay:g} is not from 0 to 1"
    if solver.weight_decay and solver.regularization_type not in ("L1", "L2"):
        yield "solver", f"no regularization_type '{printable(solver.regularization_type)}'"
    if not isfinite(solver.base_lr):
        yield "solver", f"base_lr {solver.base_lr:g} is no learning rate"
    if solver.type == "Adam":
        for field in ("momentum", "momentum2"):
            if not 0 <= getattr(solver, field) < 1:
                yield "solver", f"Adam needs a {field} from 0 to below 1"
    for field, minimum in _MINIMUM.items():
        if getattr(solver, field) < minimum:
            yield "solver", f"{field} {getattr(solver, field):g} is less than {minimum}"
    if solver.max_iter and not count_snapshots(solver, 0):
        yield "snapshots", "nothing is ever saved: set snapshot, or leave snapshot_after_train on"
    yield from (("solver", message) for message in _lint_nets(solver))


def count_snapshots(solver: SolverParameter, start: int) -> int:
    """Count the snapshots that a training from iteration `start` writes (Solver::Solve)."""
    every, last = solver.snapshot, solver.max_iter
    regular = last // every - start // every if every else 0
    return int(regular + bool(solver.snapshot_after_train and not (every and last % every == 0)))


def rate_fields(solver: SolverParameter) -> dict[str, str]:
    """Return the fields that the learning rate of a solver depends on, and their values as text."""
    fields = ("base_lr", "lr_policy", *POLICIES.get(solver.lr_policy, ()))
    return {field: _value_text(getattr(solver, field)) for field in fields}


def _value_text(value: float | str | Sequence[int]) -> str:
    if isinstance(value, float):
        return number_text(value)
    return str(value) if isinstance(value, str | int) else " ".join(map(str, value))


def lint_resume(
    solver: SolverParameter, iteration: int, step: int, written: Mapping[str, str] | None = None
) -> str | None:
    """Return how the learning rate of a resumed run differs from its state's; None where it agrees.

    Caffe counts the steps of a rate itself and keeps the count in the state (SGDSolver::
    GetLearningRate); multistep goes on from there, whatever the solver's stepvalue say. Its state
    keeps nothing else of the rate, but that of `sqgen-caffe` does.

    Args:
        solver: the solver that resumes.
        iteration, step: `iter` and `current_step` of the SolverState.
        written: `rate_fields` of the solver that wrote it; None or empty where they are unknown.
    """
    policy = printable(solver.lr_policy)
    differences = []
    if written:
        now = rate_fields(solver)
        changed = [field for field in {**written, **now} if written.get(field) != now.get(field)]
        before, after = (
            ", ".join(f"{name} {fields[name]}" for name in changed if name in fields)
            for fields in (written, now)
        )
        if changed:
            differences.append(f"with {before} where the solver has {after}")
    expected = _expected_step(solver, iteration)
    if step != expected:
        differences.append(
            f"in step {step} of its learning rate where lr_policy {policy} is in step {expected}"
            f" at iteration {iteration}"
        )
    if not differences:
        return None
    state_counts = step != expected and policy == "multistep"
    goes_on = "the state's step counts" if state_counts else "the solver's counts"
    return printable(f"was written {' and '.join(differences)}; {goes_on}", 400)


def _expected_step(solver: SolverParameter, iteration: int) -> int:
    """Return the step of the learning rate that a solver has reached after `iteration` updates."""
    last = max(iteration - 1, 0)  # the last iteration whose rate was computed
    if solver.lr_policy == "step" and solver.stepsize > 0:
        return int(last // solver.stepsize)
    if solver.lr_policy == "multistep":
        return sum(value <= last for value in solver.stepvalue)
    return 0


def _lint_nets(solver: SolverParameter) -> Iterator[str]:
    """Yield problems with the number of nets to train and test, and with test_interval."""
    trained: Final = ("net", "net_param", "train_net", "train_net_param")
    named = [field for field in trained if solver.HasField(field)]
    if len(named) != 1:
        yield f"names {' and '.join(named) or 'no net'} to train; give one"
    tests, counts = len(solver.test_net) + len(solver.test_net_param), len(solver.test_iter)
    tests_net = bool(solver.net) or solver.HasField("net_param")  # for each test_iter left over
    if counts < tests or (counts > tests and not tests_net):
        yield f"{counts} test_iter for {tests} test nets; give each one"
    if solver.test_state and len(solver.test_state) != max(counts, tests):
        yield f"{len(solver.test_state)} test_state for {max(counts, tests)} tests; give each one"
    if solver.test_iter and not solver.test_interval:
        yield "test_iter without test_interval: when to test?"


def lint_test_iter(
    test_iter: int, batch: int, images: int | None, classes: int | None, name: str = "test_iter"
) -> str | None:
    """Return what is wrong with a solver's `test_iter`; None where it covers the images.

    Args:
        test_iter: batches in a test.
        batch: images in a batch.
        images: images in the validation set; None is ImageNet's 50,000 for a net of 1,000 classes,
            and unknown otherwise.
        classes: classes of the net, where known.
        name: what gives the number of batches, for the message.
    """
    assumed = ""
    if images is None and classes == IMAGENET_CLASSES:
        images, assumed = IMAGENET_VALIDATION, " (ImageNet's; --images N says otherwise)"
    if images is None or test_iter * batch == images:
        return None
    tested = test_iter * batch
    right = -(-images // batch)
    if tested < images:
        what = f"leaves out {images - tested} of {images} images{assumed}"
    else:
        often = "twice" if tested < 2 * images else f"{tested // images} times and more"
        extra = min(tested - images, images)
        what = f"counts {extra} of {images} images {often}{assumed}"
        if test_iter == right:
            remedy = "a batch that divides it counts each once"
            return f"{name} {test_iter} x batch {batch} = {tested} {what}; {remedy}"
    return f"{name} {test_iter} x batch {batch} = {tested} {what}; {right} covers them"
