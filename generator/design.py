"""The design space as one validated value."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

from ..errors import DesignError
from ..nets.imagenet import IMAGENET_MEAN
from ..nets.windows import Window
from ..text import did_you_mean
from . import bypass as placement
from . import validation
from .design_fields import (
    FIELDS,
    POOL_AFTER,
    SMALL_INPUT,
    STEM_FILTERS,
    STEM_WINDOWS,
    DesignFields,
)
from .fire import Fire, fire_modules


class Design(DesignFields):
    """A SqueezeNet: architecture, data, style and solver. Fields that are None are derived.

    Raises:
        DesignError: the values define no valid net; the message names the option and a remedy.
    """

    def __post_init__(self) -> None:
        validation.check_fields(self)
        object.__setattr__(self, "bypass", placement.normalize(self.bypass))
        validation.check_fires(self, self.fires)
        validation.check_pools(self, self.modules, self.pools)
        validation.check_data(self)
        validation.check_solver(self)
        _ = self.bypasses, self.extents  # each raises for a design without a valid net

    def __repr__(self) -> str:
        """Show the fields that differ from `Design()`."""
        values = ((name, getattr(self, name)) for name in FIELDS)
        changed = [f"{n}={v!r}" for n, v in values if v != FIELDS[n].default]
        return f"Design({', '.join(changed)})"

    # Derived values

    @property
    def modules(self) -> range:
        """The numbers of the Fire modules: 2 to 9 in the paper."""
        return range(2, self.fire_modules + 2)

    @property
    def stem_kind(self) -> str:
        """The stem; without `stem`, `small` for small images, which would shrink to nothing.

        A published style keeps its own, so that its weights still load.
        """
        small = self.size <= SMALL_INPUT and self.style == "clean"
        return self.stem or ("small" if small else self.version)

    @property
    def conv1_filters(self) -> int:
        """Output channels of the first convolution."""
        return self.stem_filters or STEM_FILTERS[self.stem_kind]

    @property
    def pools(self) -> tuple[int, ...]:
        """The Fire modules followed by a pooling."""
        if self.pool_after is not None:
            return self.pool_after
        return tuple(module for module in POOL_AFTER[self.version] if module in self.modules)

    @property
    def classifier_pad(self) -> int:
        """Padding of the 1x1 classifier, which only the published v1.0 nets have."""
        if self.conv10_pad is not None:
            return self.conv10_pad
        return 1 if self.version == "1.0" and self.stem_kind != "small" else 0

    @property
    def means(self) -> tuple[float, ...]:
        """The mean of each channel; none with a mean file."""
        if self.mean_values is not None:
            return self.mean_values
        return IMAGENET_MEAN if self.channels == 3 and not self.mean_file else ()

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of the data layers' images."""
        return (self.channels, self.size, self.size)

    @cached_property
    def fires(self) -> tuple[Fire, ...]:
        """The filters of every Fire module."""
        return fire_modules(self, self.conv1_filters)

    @cached_property
    def extents(self) -> dict[str, int]:
        """Height and width of the outputs of conv1, the poolings and the classifier.

        Raises:
            DesignError: the image shrinks to nothing; names the layer.
        """
        kernel, stride, pad = STEM_WINDOWS[self.stem_kind]
        pool = Window(3, 2, 0, pooling=True, round_up=True)
        windows = {"conv1": Window(kernel, stride, pad), "pool1": pool}
        windows |= {f"pool{module}": pool for module in self.pools}
        windows["classifier"] = Window(1, 1, self.classifier_pad)
        extents: dict[str, int] = {}
        extent = self.size
        for layer, window in windows.items():
            size, extent = extent, window.extent(extent)
            if extent <= 0:
                remedy = "" if self.stem_kind == "small" else ", or use --stem small"
                raise validation.option_error(
                    self,
                    "size",
                    f"shrinks to nothing at {layer}, whose input is {size}x{size};"
                    f" raise --size, drop a --pool-after{remedy}",
                )
            extents[layer] = extent
        return extents

    @cached_property
    def bypasses(self) -> dict[int, str]:
        """Module -> `identity` or `conv`, for every Fire module with a bypass."""
        return placement.place(self.bypass, self.fires)

    @property
    def passes(self) -> int:
        """Forward and backward passes an update: the solver's iter_size.

        Raises:
            DesignError: the batches don't add up to the effective batch.
        """
        if self.iter_size is not None:
            return self.iter_size
        per_pass = self.batch_size * self.gpus
        if self.effective_batch % per_pass:
            near = max(round(self.effective_batch / per_pass), 1) * per_pass
            reason = f"batch size {self.batch_size} x {self.gpus} GPU does not divide it"
            raise validation.option_error(
                self,
                "effective_batch",
                f"{reason}; --effective-batch {near} would do, or give --iter-size",
            )
        return self.effective_batch // per_pass

    @property
    def test_batches(self) -> int:
        """Test batches that cover all validation images: the solver's test_iter."""
        return self.test_iter or -(-self.val_images // self.val_batch_size)

    def with_options(self, **options: Any) -> Design:
        """Return a design with some fields changed.

        Raises:
            DesignError: a field is unknown, or the values define no valid net.
        """
        for option in options:
            if option not in FIELDS:
                raise DesignError(f"no design option '{option}'{did_you_mean(option, FIELDS)}")
        return replace(self, **options) if options else self


# Errors of the constructor name the class that users know. A decorator of its own would make the
# same methods again, which takes 2 ms of each start.
DesignFields.__init__.__qualname__ = "Design.__init__"
