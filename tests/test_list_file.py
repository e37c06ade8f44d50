"""Lists of images: labels as C's atoi reads them."""

from __future__ import annotations

import pytest

from sqgen.formats.list_file import parse_list


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("7", 7),
        ("-3", -3),
        ("+0012", 12),
        ("0", 0),
        ("0" * 5000 + "42", 42),
        ("\t5x", 5),
        ("x5", 0),
        ("\uff15", 0),
    ],
)
def test_labels(text: str, label: int) -> None:
    assert parse_list(f"a b.jpg {text}\n".encode(), "list")[0][:2] == ("a b.jpg", label)


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_label_of_thousands_of_digits_is_beyond_any_integer(sign: str) -> None:
    [line] = parse_list(f"a.jpg {sign}{'9' * 5000}".encode(), "list")
    assert line.labelled
    assert abs(line.label) > 1 << 32
    assert (line.label < 0) == bool(sign)
