"""Lists of images: labels as C's atoi reads them."""

from __future__ import annotations

import pytest

from sqgen.errors import FormatError
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


@pytest.mark.parametrize("label", ["2147483648", "-2147483649", "9" * 5000, "-" + "9" * 5000])
def test_a_label_of_more_than_32_bits(label: str) -> None:
    with pytest.raises(FormatError, match=r"list: line 2: label -?\d.*\d; Caffe takes 32 bits"):
        parse_list(f"a.jpg 1\nb.jpg {label}".encode(), "list")
