"""HDF5Output: save two blobs of a batch to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import NetError
from ...formats.files import write_files
from ...formats.hdf5_file import hdf5_package, write_hdf5
from ...text import printable
from .. import glog
from ..tensors import to_array
from .base import Kernel, PassContext, Tensor, Tensors


class HDF5Output(Kernel):
    """hdf5_output_layer.cpp: the bottoms become the datasets `data` and `label`, of four axes.

    Caffe's layer saves one batch, and dies at the second.
    """

    reduces = True  # writes the whole batch

    def set_up(self) -> None:
        """Check that the file can be written."""
        self._file = self.param.hdf5_output_param.file_name
        self._saved = False
        hdf5_package()

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Write the file; return no tops."""
        shown = printable(self._file)
        if self._saved:
            raise NetError(
                f"layer '{printable(self.layer.name)}': Failed to make float dataset data: {shown}"
                " has a batch, and HDF5Output saves one alone; run one iteration"
            )
        data, label = map(_four_axes, bottoms)
        glog.info(f"Saving HDF5 file {self._file}", "hdf5_output_layer.cpp:33")
        contents = write_hdf5(lambda file: file.update(data=data, label=label))
        write_files({Path(self._file): contents}, force=True)
        self._saved = True
        glog.info(f"Successfully saved {len(data)} rows", "hdf5_output_layer.cpp:38")
        return []


def _four_axes(blob: Tensor) -> np.ndarray:
    """Return a blob as (num, channels, height, width)."""
    array = to_array(blob)
    return array.reshape(*array.shape, *[1] * (4 - array.ndim))
