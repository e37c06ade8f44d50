"""Thumbnails of the images that a test predicted, from its dataset."""

from __future__ import annotations

from collections.abc import Collection

from ..datasets.thumbnails import read_thumbnails
from ..errors import SqgenError
from ..logs.result import LogResult
from ..runner.tested_data import find_tested_data
from .error_sections import Pictures


def read_pictures(result: LogResult, source: str, keys: Collection[str]) -> Pictures:
    """Return the pictures of a test's images, or why there are none.

    Args:
        result: of the test.
        source: the run folder that it was read from, if any.
        keys: of the images.
    """
    try:
        data = find_tested_data(result, source)
        return Pictures(read_thumbnails(data.layer, data.base, keys))
    except SqgenError as error:  # the names of the images say enough
        return Pictures(remark=f"No pictures: {error}.")
