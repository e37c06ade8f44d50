"""The nets of a training: the trained net and the test nets, with overrides, as files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import NetError
from ..formats.schema import LayerParameter
from ..nets.definition import NetDefinition
from ..nets.solver_nets import path_beside_solver, read_solver_nets
from ..nets.solver_rules import lint_test_iter
from ..text import printable
from .exact_epoch import plan_exact_epoch
from .freeze import freeze_layers, frozen_shapes
from .options import RunOptions
from .overrides import (
    DataOverride,
    RunFile,
    inner_net_key,
    layer_batch_size,
    net_file,
    override_data,
)
from .preflight import check_net
from .run_record import TestNetRecord, record_data
from .solver_preflight import ParsedSolver

SOLVER = "solver.prototxt"


class TrainingNets:
    """The nets of a solver as they are run.

    Several nets may come from one file, in different states; overrides apply to the file.

    Attributes:
        given: the nets without overrides.
        trained, tested: the trained net, and a test net per test_iter.
        trained_check, tested_checks: their shapes and datasets.
        test_iter: batches per test of each test net.

    Raises:
        SqgenError: a net is missing or invalid, or an override does not fit it.
    """

    def __init__(
        self,
        options: RunOptions,
        solver: ParsedSolver,
        train: DataOverride,
        test: DataOverride,
        level: int = 0,
    ) -> None:
        self._test_override = test
        nets = read_solver_nets(solver.param, solver.path, level=level, text=solver.text)
        self.given = nets
        self._paths = _net_keys(nets.origins)
        # Before any check of a net fails: the other file of that name may have been meant.
        _warn_of_namesakes(options, (path for _, path in nets.origins), solver.path)
        if test.source is not None and not nets.tested:
            raise NetError(
                f"--val-data {printable(test.source)}: {printable(solver.path)} tests nothing;"
                " give it test_iter and test_interval"
            )
        self._files: dict[str, NetDefinition] = {}
        self._changes: dict[str, list[str]] = {}
        roles = [(nets.trained, train), *((net, test) for net in nets.tested)]
        for (net, override), path in zip(roles, self._paths, strict=True):
            self._override(net, path, override)
        self.trained = self._overridden(nets.trained, 0)
        self.tested = [self._overridden(net, index) for index, net in enumerate(nets.tested, 1)]
        self.trained_check = check_net(self.trained, "TRAIN")
        self.tested_checks = [check_net(net, "TEST", "--val-data") for net in self.tested]
        options.log_checks(self.trained_check, *self.tested_checks)
        self.test_iter = list(solver.param.test_iter)

    def freeze(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Freeze the layers of the trained net that match; return their names.

        Raises:
            NetError: a pattern matches nothing, or nothing would train.
        """
        checked = self.trained_check
        frozen = freeze_layers(self.trained, checked.shapes, patterns)
        self.trained_check = checked._replace(shapes=frozen_shapes(checked.shapes, frozen))
        path = self._paths[0]
        self._files[path] = replace(self._files[path], param=frozen.net.param)
        self._changes[path].extend(frozen.changes)
        self.trained = frozen.net
        return frozen.layers

    def _override(self, net: NetDefinition, path: str, override: DataOverride) -> None:
        """Apply an override to the file of a net, on top of earlier ones."""
        earlier = self._files.get(path)
        current = net if earlier is None else replace(net, param=earlier.param)
        overridden, changes = override_data(current, [override])
        self._files[path] = overridden
        self._changes.setdefault(path, []).extend(changes)

    def _overridden(self, net: NetDefinition, index: int) -> NetDefinition:
        """Return a net with all overrides of its file."""
        return replace(net, param=self._files[self._paths[index]].param)

    def plan_tests(
        self, options: RunOptions, keep_test_iter: bool = False
    ) -> tuple[TestNetRecord, ...]:
        """Fit batch size and test_iter of each test net to its dataset; lint what is left.

        Args:
            options: log what is corrected.
            keep_test_iter: leave both as they are.

        Returns:
            What each test net reads.
        """
        return tuple(
            self._plan_test(options, index, keep_test_iter) for index in range(len(self.tested))
        )

    def _plan_test(self, options: RunOptions, index: int, keep_test_iter: bool) -> TestNetRecord:
        checked = self.tested_checks[index]
        data = record_data(checked)
        if len(checked.layers) != 1:
            return TestNetRecord(self.test_iter[index], None, None, data)
        (layer,), (dataset,) = checked.layers, checked.datasets
        batch_size, records = layer_batch_size(layer), dataset.records
        if records is not None and not keep_test_iter:
            batch_size = self._fit_test(options, index, records, layer)
        warning = lint_test_iter(self.test_iter[index], batch_size, records, None)
        if warning is not None:
            options.warn(f"test net {index}: {warning}")
        return TestNetRecord(self.test_iter[index], batch_size or None, dataset.digest, data)

    def _fit_test(
        self, options: RunOptions, index: int, records: int, layer: LayerParameter
    ) -> int:
        """Fit one test net to its records; return its batch size."""
        batch_size, test_iter = layer_batch_size(layer), self.test_iter[index]
        wrong = lint_test_iter(test_iter, batch_size, records, None)
        plan = plan_exact_epoch(records, batch_size, engine_stops=False)
        net = self.tested[index]
        if layer in net.layers("TRAIN"):  # whose batch size is the training's too
            plan = plan._replace(batch_size=batch_size, iterations=-(-records // batch_size))
        if (plan.batch_size, plan.iterations) == (batch_size, test_iter):
            return batch_size
        if wrong is not None and self._test_override.source is None:
            options.warn(f"test net {index}: {wrong}; corrected, unless --keep-test-iter is given")
        self.test_iter[index] = plan.iterations
        if plan.batch_size != batch_size:
            override = DataOverride("TEST", None, plan.batch_size)
            self._override(net, self._paths[index + 1], override)
        return plan.batch_size

    @property
    def file_names(self) -> dict[str, str]:
        """Key of each net -> the name of its copy in the run folder."""
        names: dict[str, str] = {}
        for path in self._files:
            name = Path(path).name
            while name in (*names.values(), SOLVER):
                name = f"{Path(name).stem}_{Path(name).suffix}"
            names[path] = name
        return names

    def tested_file(self, index: int) -> str:
        """Return the name of the copy of a test net."""
        return self.file_names[self._paths[index + 1]]

    def net_files(self) -> list[RunFile]:
        """Return the nets' files for the run folder."""
        return [
            net_file(self._files[path], self._changes[path], name)
            for path, name in self.file_names.items()
        ]


def _net_keys(origins: Sequence[tuple[str, str]]) -> list[str]:
    """Return what tells the files of nets apart: paths, and keys for nets inside the solver."""
    fields = [field for field, _ in origins]
    return [
        path or inner_net_key(field, fields[:index].count("test_net_param"))
        for index, (field, path) in enumerate(origins)
    ]


def _warn_of_namesakes(options: RunOptions, paths: Iterable[str], source: str) -> None:
    """Warn of a net in the working folder, which Caffe runs, with a namesake beside the solver."""
    for path in dict.fromkeys(filter(None, paths)):
        here, beside = Path(path), path_beside_solver(path, source)
        if os.path.exists(here) and os.path.exists(beside) and not here.samefile(beside):
            options.warn(
                f"net {printable(path)} of this folder is run, as Caffe does, not"
                f" {printable(str(beside))} beside the solver"
            )
