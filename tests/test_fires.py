"""Fire modules whose sizes are listed: `fires` of a design, `--fires`, shorter words for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import Design, DesignError, build, parse_net, preset, summary
from sqgen.formats import toml
from sqgen.generator.design_fields import NAMINGS, REPLACED_BY_FIRES, STYLES
from sqgen.generator.options import design_from_table, format_design, options_between
from sqgen.generator.presets import PRESETS
from sqgen.tools.build import is_as_built

from .conftest import Run
from .designs import FIRES, designs

PRUNED = (
    (11, 50, 60),
    (16, 46, 64),
    (32, 128, 100),
    (21, 128, 100),
    (48, 150, 192),
    (40, 192, 180),
    (64, 200, 256),
    (64, 255, 256),
)
WORDS = ",".join("/".join(map(str, sizes)) for sizes in PRUNED)


def convolutions(design: Design) -> dict[str, tuple[int, int]]:
    """Name of each convolution -> its input and output channels, by the shapes of the net."""
    found = {}
    for layer in summary(parse_net(build(design, "deploy"))).layers:
        if layer.type == "Convolution":
            (_, bottom), (_, top) = layer.bottoms[0], layer.tops[0]
            assert bottom is not None
            assert top is not None
            found[layer.name] = (bottom[1], top[1])
    return found


def test_each_module_has_its_sizes() -> None:
    found = convolutions(Design(fires=PRUNED, bypass="2:conv"))
    inputs = 96
    for module, (squeeze, expand1x1, expand3x3) in enumerate(PRUNED, start=2):
        outputs = expand1x1 + expand3x3
        assert found[f"fire{module}/squeeze1x1"] == (inputs, squeeze)
        assert found[f"fire{module}/expand1x1"] == (squeeze, expand1x1)
        assert found[f"fire{module}/expand3x3"] == (squeeze, expand3x3)
        assert found.get(f"fire{module}/bypass1x1", (inputs, outputs)) == (inputs, outputs)
        inputs = outputs
    assert found["conv10"] == (inputs, 1000)


@st.composite
def pruned_designs(draw: st.DrawFn) -> Design:
    """Designs of any preset, version, naming, style and bypass, with sizes of their own.

    Some modules repeat the one before, so that identities fit there.
    """
    fires = list(draw(FIRES))
    for i in draw(st.sets(st.integers(1, 8), max_size=4)):
        if i < len(fires):
            fires[i] = (fires[i][0], *fires[i - 1][1:])
    base = preset(draw(st.sampled_from(PRESETS))) if draw(st.booleans()) else draw(designs())
    bypass = draw(st.sampled_from(["none", "simple", "complex", "2:conv", base.bypass]))
    options: dict[str, Any] = {"fires": tuple(fires), "bypass": bypass, "pool_after": None}
    for name, known in (("naming", NAMINGS), ("style", STYLES), ("concat_order", None)):
        if draw(st.booleans()):
            orders = ["1x1,3x3", "3x3,1x1"]
            options[name] = draw(st.sampled_from(list(known or orders)))
    try:
        return replace(base, **options)
    except DesignError:  # a bypass around a module that isn't there, or an image too small
        return replace(Design(), **{**options, "bypass": "complex"})


@given(pruned_designs(), st.sampled_from(["trainval", "deploy"]))
def test_a_net_is_built_again_by_its_header_and_by_its_design(design: Design, net: str) -> None:
    text = build(design, net)
    assert is_as_built(text) or "$'" in text.partition("\n")[0]
    written = format_design(design)
    read = design_from_table(toml.parse(written.encode(), "d"), "d")
    assert build(read, net) == text
    assert ("--fires" in text.partition("\n")[0]) == (design.fires is not None)


@given(designs())
def test_sizes_that_the_metaparameters_make_are_said_by_them(design: Design) -> None:
    sizes = [fire.sizes for fire in design.fire_filters]
    if design.fires is None:
        assert design.with_fires(sizes) == design
    again = Design(fires=tuple(sizes))
    assert (again.fires is None) == (design.fires is None)
    assert [fire.sizes for fire in again.fire_filters] == sizes


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_of_a_preset_leave_its_header_as_it_is(name: str) -> None:
    design = preset(name)
    sizes = tuple(fire.sizes for fire in design.fire_filters)
    assert replace(design, fires=sizes) == design
    found = Design(fires=sizes)
    ratio = [] if design.squeeze_ratio == 0.125 else ["--sr", "0.5"]
    assert options_between(Design(), found) == ratio


@pytest.mark.parametrize(
    ("fires", "words"),
    [
        ([[8, 32, 32], [8, 32, 32], [16, 64, 64]], "--fire-modules 3 --base-e 64 --incr-e 64"),
        ([[9, 9, 9]], "--fire-modules 1 --base-e 18 --sr 0.5"),
        ([[1, 1, 1]] * 3, "--fire-modules 3 --base-e 2 --incr-e 0 --sr 0.5"),
        ([[4, 5, 5], [4, 6, 6]], "--fire-modules 2 --base-e 10 --incr-e 2 --freq 1 --sr 0.36"),
        ([[6, 5, 15]], "--fire-modules 1 --base-e 20 --pct3x3 0.75 --sr 0.3"),
        ([[9, 4, 4]], "--fires 9/4/4"),  # more squeezed than expanded
        ([[4, 9, 8], [4, 8, 8]], "--fires 4/9/8,4/8/8"),  # fewer filters than before
        ([[4, 8, 8], [4, 9, 7]], "--fires 4/8/8,4/9/7"),  # another share of 3x3
        ([[4, 8, 8], [5, 8, 8]], "--fires 4/8/8,5/8/8"),
        ([[1, 65536, 65536]], "--fires 1/65536/65536"),  # base_e is at most 65536
    ],
)
def test_shortest_words(fires: list[list[int]], words: str) -> None:
    assert " ".join(options_between(Design(), Design().with_options(fires=fires))) == words


@pytest.mark.parametrize("name", REPLACED_BY_FIRES)
def test_an_option_that_fires_replaces(name: str) -> None:
    pruned = Design(fires=PRUNED)
    flag = Design.__dataclass_fields__[name].metadata["flag"]
    value: Any = {"fire_modules": 7, "pct3x3": 0.25, "squeeze_ratio": 0.25}.get(name, 4)
    changes: list[tuple[Design, dict[str, Any]]] = [
        (Design(), {"fires": PRUNED, name: value}),
        (pruned, {name: value}),
        (Design(), {"fires": [[8, 32, 32], [8, 32, 32], [9, 36, 36]], name: value}),
    ]
    for base, options in changes:
        with pytest.raises(DesignError, match=rf"^{flag} {value}: --fires gives .*leave one of"):
            base.with_options(**options)
    assert replace(Design(**{name: value}), fires=PRUNED) == pruned
    assert pruned.with_options(fires=None, **{name: value}) == Design(**{name: value})


def test_options_beside_fires_that_say_the_same() -> None:
    assert Design().with_options(fires=PRUNED, fire_modules=8) == Design(fires=PRUNED)
    assert Design().with_options(fires=[[8, 32, 32]], base_e=64, fire_modules=1).base_e == 64
    with pytest.raises(DesignError, match="--base-e 128: --fires gives other sizes"):
        Design().with_options(fires=PRUNED, base_e=128)


def test_bypasses_stay_where_they_are() -> None:
    simple, complex_ = Design(bypass="simple"), Design(bypass="complex")
    halves = [[8, 32, 32], [9, 32, 32], [16, 64, 64], [16, 64, 64]]
    four = simple.with_options(fire_modules=4).with_fires(halves)
    assert (four.bypass, four.bypasses) == ("simple", {3: "identity", 5: "identity"})
    equal = [list(fire.sizes) for fire in simple.fire_filters]
    equal[2] = [32, 64, 64]  # fire4 gets as many outputs as inputs, and fire5 fewer
    equal[3] = [32, 64, 64]
    assert simple.with_fires(equal).bypass == "3,5,7,9"
    assert complex_.with_fires(equal).bypass == "2:conv,3,4:conv,5,6:conv,7,8:conv,9"
    assert Design().with_fires(equal).bypass == "none"
    equal[3] = [32, 63, 64]
    with pytest.raises(DesignError, match="fire5 has 128 input and 127 output channels"):
        simple.with_fires(equal)


def test_command_and_design_file(sqgen: Run, tmp_path: Any) -> None:
    built = sqgen("build", "--preset", "v1.1", "--fires", WORDS, "--net", "deploy").stdout
    assert built.startswith(f"# sqgen build --preset v1.1 --fires {WORDS} --net deploy\n")
    lines = "\n".join(f"  {list(sizes)}," for sizes in PRUNED)
    (tmp_path / "d.toml").write_text(f'preset = "v1.1"\n[net]\nfires = [\n{lines}\n]\n')
    assert sqgen("build", "--design", "d.toml", "--net", "deploy").stdout == built
    dumped = sqgen("build", "--design", "d.toml", "--dump-design").stdout
    assert "fires = [\n    [11, 50, 60],\n    [16, 46, 64],\n" in dumped
    assert "base_e" not in dumped
    assert sqgen("build", "--design", "-", "--net", "deploy", stdin=dumped).stdout == built


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fires", "16/64/64,16/x/64"], "--fires: fire3 16/x/64: must be 3 whole numbers"),
        (["--fires", "16/64/64,"], "--fires: fire3 '': must be 3 whole numbers, squeeze/"),
        (["--fires", "16/64/6.5"], "--fires: fire2 16/64/6.5: must be 3 whole numbers"),
        (["--fires", "16/64"], "--fires: fire2 16/64: must be 3 numbers"),
        (["--fires", "16,64,64"], "--fires: fire2 16: must be 3 numbers"),
        (["--fires", ""], "--fires '': must have from 1 to 64 Fire modules"),
        (["--fires", f"16/64/{'9' * 5000}"], "--fires: fire2 16/64/999"),
        (["--fires", "1/2/3", "--base-e", "6"], "--base-e 6: --fires gives other sizes; leave"),
        (["--fires", "1/2/3", "--fire-modules", "2"], "--fire-modules 2: --fires gives 1 Fire"),
        (["--fires", "1/2/60000,60000/60000/60000,1/2/3", "--size", "4000"], "is more than Caffe"),
        (["--design", "d.toml"], "d.toml: --fires: fire3 8/8: must be 3 numbers"),
        (["--design", "d.toml", "--sr", "0.5"], "d.toml: --fires: fire3 8/8: must be 3 numbers"),
    ],
)
def test_mistakes(sqgen: Run, tmp_path: Any, options: list[str], message: str) -> None:
    (tmp_path / "d.toml").write_text("[net]\nfires = [[8, 8, 8], [8, 8]]\n")
    done = sqgen("build", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
