"""Bypass placement: each value of `--bypass`, and its errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import Design, DesignError, build, parse_net, summary


def placed(spec: str, **options: object) -> dict[int, str]:
    return Design().with_options(bypass=spec, **options).bypasses


def test_words() -> None:
    """Section 6 of the paper: fire3, 5, 7, 9 keep their channels; fire2, 4, 6, 8 don't."""
    assert placed("none") == {}
    assert placed("simple") == dict.fromkeys((3, 5, 7, 9), "identity")
    assert placed("complex") == {m: "identity" if m % 2 else "conv" for m in range(2, 10)}
    assert placed("Simple ") == placed("simple")


def test_words_follow_the_channels() -> None:
    assert placed("simple", freq=4) == dict.fromkeys((3, 4, 5, 7, 8, 9), "identity")
    assert placed("simple", incr_e=0, base_e=96) == dict.fromkeys(range(2, 10), "identity")
    assert placed("simple", freq=1) == {}
    assert placed("complex", freq=1) == dict.fromkeys(range(2, 10), "conv")
    assert placed("simple", fire_modules=2) == {3: "identity"}


def test_lists() -> None:
    assert placed("3,5,7,9") == placed("simple")
    assert placed(" 9, fire3 ") == {3: "identity", 9: "identity"}
    assert placed("2:conv,3,5,8:conv") == {2: "conv", 3: "identity", 5: "identity", 8: "conv"}
    assert placed("3:conv,5:identity") == {3: "conv", 5: "identity"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "4",
            "--bypass 4: fire4 has 128 input and 256 output channels, so an identity does not"
            " fit; use 4:conv",
        ),
        ("12", "--bypass 12: there is no fire12; this net has fire2 to fire9"),
        ("1", "--bypass 1: there is no fire1; this net has fire2 to fire9"),
        ("3,3:conv", "--bypass 3,3:conv: fire3 is named twice"),
        ("3:cnv", "--bypass 3:cnv: a bypass is identity or conv, not 'cnv'; did you mean 'conv'?"),
        (
            "smiple",
            "--bypass smiple: 'smiple' is not a module; write none, simple, complex, or modules"
            " such as 3,5,7,9 or 2:conv,3; did you mean 'simple'?",
        ),
        ("", "--bypass : '' is not a module"),
        ("3,,5", "--bypass 3,,5: '' is not a module"),
        ("3\n5", r"--bypass 3\n5: '3\n5' is not a module"),
        ("-3", "--bypass -3: '-3' is not a module"),
    ],
)
def test_what_cannot_be_placed(spec: str, message: str) -> None:
    with pytest.raises(DesignError) as caught:
        Design(bypass=spec)
    assert str(caught.value).startswith(message)


@given(st.text(max_size=12))
def test_any_text_is_a_placement_or_one_line(spec: str) -> None:
    try:
        Design(bypass=spec)
    except DesignError as error:
        assert str(error).isprintable()
        assert str(error).startswith("--bypass")


def test_wiring_of_simple() -> None:
    """The bottoms of the published Residual net, as sets: what goes around, what comes out."""
    net = parse_net(build(Design(bypass="simple")))
    sums = {layer.name: set(layer.bottom) for layer in net.param.layer if layer.type == "Eltwise"}
    assert sums == {
        "fire3/bypass": {"fire2/concat", "fire3/concat"},
        "fire5/bypass": {"pool4", "fire5/concat"},
        "fire7/bypass": {"fire6/concat", "fire7/concat"},
        "fire9/bypass": {"pool8", "fire9/concat"},
    }
    readers = {layer.name: layer.bottom[0] for layer in net.param.layer if layer.bottom}
    assert readers["fire4/squeeze1x1"] == "fire3/bypass"
    assert readers["conv10"] == "fire9/bypass"


def test_a_conv_bypass_has_the_module_s_channels() -> None:
    net = parse_net(build(Design(bypass="2:conv", bypass_relu=True, fire_modules=3)))
    layers = {layer.name: layer for layer in net.param.layer}
    conv = layers["fire2/bypass1x1"]
    assert list(conv.bottom) == ["pool1"]
    assert conv.convolution_param.num_output == 128
    assert list(conv.convolution_param.kernel_size) == [1]
    relu = layers["fire2/relu_bypass1x1"]
    assert list(relu.bottom) == list(relu.top) == ["fire2/bypass1x1"]
    assert list(layers["fire2/bypass"].bottom) == ["fire2/bypass1x1", "fire2/concat"]


def test_weights_of_the_residual_net_load_by_name() -> None:
    """Layers with weights of the clean net: names and shapes of the published Residual net."""

    def weights(design: Design) -> dict[str, int]:
        layers = summary(parse_net(build(design))).layers
        return {layer.name: layer.parameters for layer in layers if layer.parameters}

    from sqgen import preset

    assert weights(Design(bypass="simple")) == weights(preset("residual"))
    assert weights(Design()) == weights(preset("v1.0"))
    assert weights(Design(version="1.1")) == weights(preset("v1.1"))
