"""Summaries of nets with layers whose types sqgen does not know."""

from __future__ import annotations

import csv
import io
import json

import pytest

from sqgen import NetError, parse_net, summary

from .conftest import Run
from .small_nets import conv, layer, net_input

TEXT = (
    net_input(3, 8, 8)
    + conv("a", "data", 4)
    + layer("PReLUX", "odd", "a", "a")  # in place: the shape stays
    + conv("b", "a", 5)
    + layer("Permute", "p", "b", rest="permute_param { order: 0 }")
    + layer("ReLU", "r", "p", "p")
    + layer("Permute", "q", "p")
    + conv("c", "b", 2)
)


def test_what_does_not_depend_on_an_unknown_layer_is_known() -> None:
    found = summary(parse_net(TEXT, "n"))
    assert found.unknown == ["odd", "p", "r", "q"]
    rows = {row.name: row for row in found.layers}
    assert list(rows) == ["in", "a", "odd", "b", "p", "r", "q", "c"]
    assert (rows["odd"].tops, rows["odd"].macs) == ([("a", (1, 4, 8, 8))], None)
    assert rows["p"].bottoms == [("b", (1, 5, 8, 8))]
    assert rows["p"].tops == rows["r"].tops == [("p", None)]
    assert rows["c"].tops == [("c", (1, 2, 8, 8))]
    without = summary(parse_net(net_input(3, 8, 8) + conv("a", "data", 4), "n"))
    assert rows["a"] == without.layers[1]
    assert found.totals.parameters == 4 * 3 + 4 + 5 * 4 + 5 + 2 * 5 + 2
    assert found.warnings == [
        "n:3: layer 'odd': no layer type 'PReLUX'; did you mean 'PReLU'?",
        "n:5: layer 'p': no layer type 'Permute' in Caffe; it is SSD's (1 more of this type)",
    ]


def test_the_forms_of_an_incomplete_summary(sqgen: Run) -> None:
    done = sqgen("summary", "-", stdin=TEXT)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr.count("warning: ")) == (0, 2)
    assert lines[5].split() == ["p", "Permute", "1x5x8x8", "?", "?", "?", "?"]
    assert lines[-3].startswith("total at least ")
    assert lines[-2].startswith("at least 53 parameters (212 B of float32), ")
    assert lines[-1] == "unknown: odd, p, r and 1 more"
    (entry,) = json.loads(sqgen("summary", "-", "--json", stdin=TEXT).stdout)
    assert entry["unknown"] == ["odd", "p", "r", "q"]
    assert entry["layers"][4]["tops"] == {"p": None}
    assert entry["layers"][4]["macs"] is None
    rows = list(csv.DictReader(io.StringIO(sqgen("summary", "-", "--csv", stdin=TEXT).stdout)))
    assert (rows[4]["tops"], rows[4]["macs"], rows[3]["tops"]) == ("", "", "1x5x8x8")


def test_other_problems_end_a_summary() -> None:
    with pytest.raises(NetError, match="n:9: layer 'd': no layer makes 'nothing'"):
        summary(parse_net(TEXT + conv("d", "nothing", 2), "n"))
    with pytest.raises(NetError, match="kernel"):
        summary(parse_net(TEXT + conv("d", "b", 2, more="kernel_h: 3"), "n"))


def test_a_complete_summary_says_nothing_of_it(sqgen: Run) -> None:
    done = sqgen("summary", "-", stdin=net_input() + conv("a", "data", 4))
    assert "least" not in done.stdout
    assert "unknown" not in done.stdout
