"""What Caffe takes for a solver: policies, types, and what must go with what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import did_you_mean, printable

IMAGENET_CLASSES, IMAGENET_VALIDATION = 1000, 50_000
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
SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")


def lint_solver(solver: Any) -> Iterator[str]:
    """What Caffe would refuse in a SolverParameter (solver.cpp, sgd_solver.cpp)."""
    policy = solver.lr_policy
    if policy not in POLICIES:
        hint = did_you_mean(policy, POLICIES) or f"; one of {', '.join(POLICIES)}"
        yield f"no lr_policy '{printable(policy)}'{hint}"
    for field in POLICIES.get(policy, ()):
        if not getattr(solver, field):
            yield f"lr_policy {policy} needs {field}"
    if solver.gamma < 0:
        yield f"gamma {solver.gamma:g} is negative"
    if solver.type not in SOLVERS:
        yield f"no type '{printable(solver.type)}'{did_you_mean(solver.type, SOLVERS)}"
    if solver.type in ("AdaGrad", "RMSProp") and solver.momentum:
        yield f"{solver.type} takes no momentum"
    tests, given = len(solver.test_net) + len(solver.test_net_param), len(solver.test_iter)
    any_more = bool(solver.net) or solver.HasField("net_param")  # is tested for each one left
    if given < tests or (given > tests and not any_more):
        yield f"{given} test_iter for {tests} test nets; give each one"
    if solver.test_state and len(solver.test_state) != max(given, tests):
        yield f"{len(solver.test_state)} test_state for {max(given, tests)} tests; give each one"
    if solver.test_iter and not solver.test_interval:
        yield "test_iter without test_interval: when to test?"


def lint_test_iter(
    test_iter: int, batch: int, images: int | None, classes: int | None
) -> str | None:
    """What is wrong with a solver's `test_iter`, if anything.

    `images` is the size of the validation set; None is ImageNet's 50,000 for a net of 1,000
    classes, and unknown otherwise.
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
            return f"test_iter {test_iter} x batch {batch} = {tested} {what}; {remedy}"
    return f"test_iter {test_iter} x batch {batch} = {tested} {what}; {right} covers them"
