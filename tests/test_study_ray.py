"""`sqgen study --on ray`, on a Ray cluster of two nodes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqgen.errors import DesignError, MissingExtraError, SqgenError
from sqgen.sweep import job
from sqgen.sweep.on_ray import RayLauncher
from sqgen.sweep.results import read_results

from .test_study import DONE, NETS, is_alive, stub_python, wait_for
from .test_study_file import plan_of


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each; the second is the one to kill."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'sqgen[ray]'")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.second = made.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    del os.environ["RAY_ADDRESS"]
    ray.shutdown()
    made.shutdown()


def study(root: Path, python: str = sys.executable) -> job.RunStudy:
    return job.RunStudy(root, RayLauncher, python=python, on_cluster=True, log=lambda line: None)


def test_runs_of_a_node_that_is_killed_go_elsewhere(cluster: Any, tmp_path: Path) -> None:
    """What they have started ends with the node, and they run again on the other."""
    # As a run does, it ends with its standard input, which the worker holds open.
    script = f"""
echo x >> "$folder/starts"
exec 3<&0
(exec 2> /dev/null; cat <&3 > /dev/null; kill -9 $$) &
echo "$$" > "$folder/pid"
while [ ! -e {tmp_path}/go ]; do sleep 0.05; done
{DONE}"""
    plan, root = plan_of(NETS), tmp_path / "s"

    class Killing(RayLauncher):
        """Kills the second node as soon as two runs have started."""

        def ended(self) -> list[Any]:
            pids = [int(path.read_text() or 0) for path in root.glob("runs/*/*/pid")]
            if len(pids) == 2 and all(pids) and not (tmp_path / "go").exists():
                cluster.remove_node(cluster.second, allow_graceful=False)
                wait_for(lambda: not all(map(is_alive, pids)))
                (tmp_path / "go").write_text("")
            return super().ended()

    python = stub_python(tmp_path, script)
    job.RunStudy(root, Killing, python=python, on_cluster=True, log=lambda line: None).run(plan)
    found = read_results(root, plan)
    assert [len(point.finished) for point in found.points] == [2, 2]
    starts = [(root / trial.folder / "starts").read_text() for trial in plan.trials]
    assert sorted(starts) == ["x\n", "x\n", "x\n", "x\nx\n"]


def test_runs_are_those_of_this_sqgen(cluster: Any, tmp_path: Path) -> None:
    plan = plan_of(NETS.replace("seeds = 2", "seeds = 1"))
    study(tmp_path / "s").run(plan)
    found = read_results(tmp_path / "s", plan)
    assert found.points[0].means["parameters"].value > 1000


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'python: No module named sqgen' >&2; exit 1", r"No module named sqgen on "),
        (None, r"no-python: No such file or directory on "),
    ],
)
def test_machines_that_lack_sqgen_end_the_study(
    cluster: Any, tmp_path: Path, script: str | None, message: str
) -> None:
    python = str(tmp_path / "no-python") if script is None else stub_python(tmp_path, script)
    with pytest.raises(SqgenError, match=message) as caught:
        study(tmp_path / "s", python).run(plan_of(NETS))
    assert caught.value.exit_code == 2


def test_without_a_cluster_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'sqgen[ray]'")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    message = r"--on ray: no Ray cluster answers at 127\.0\.0\.1:1; ray start --head starts one"
    with pytest.raises(DesignError, match=message) as caught:
        study(tmp_path / "s").run(plan_of(NETS))
    assert "\n" not in str(caught.value)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--on ray needs Ray: pip install 'sqgen\[ray\]'"):
        study(tmp_path / "s").run(plan_of(NETS))
    assert not (tmp_path / "s" / "runs").exists()
