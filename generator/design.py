"""The design space as one validated value."""

from __future__ import annotations

from collections.abc import Sequence
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
    REPLACED_BY_FIRES,
    SMALL_INPUT,
    STEM_FILTERS,
    STEM_WINDOWS,
    DesignFields,
)
from .fire import Fire, fire_modules


class Design(DesignFields):
    """A SqueezeNet: architecture, data, style and solver. Fields that are None are derived.

    `fires` replaces `fire_modules` to `squeeze_ratio`, whatever their values, so that
    `dataclasses.replace(design, fires=...)` works on any design. Where those can make the sizes,
    they get the values that do, and `fires` is None; else they are reset. So `fires` is None if and
    only if the sizes are regular.

    Raises:
        DesignError: the values define no valid net; the message names the option and a remedy.
    """

    def __post_init__(self) -> None:
        validation.check_fields(self)
        object.__setattr__(self, "bypass", placement.normalize(self.bypass))
        self._settle_fires()
        validation.check_fires(self, self.fire_filters)
        validation.check_pools(self, self.modules, self.pools)
        validation.check_data(self)
        validation.check_solver(self)
        _ = self.bypasses, self.extents  # each raises for a design without a valid net

    def _settle_fires(self) -> None:
        """Set the metaparameters to what `fires` means, or reset those that don't count."""
        if self.fires is None:
            return
        from .regular_fires import regular_fields  # few designs need it

        regular = regular_fields(self.fires, self)
        defaults = {name: FIELDS[name].default for name in REPLACED_BY_FIRES}
        settled = {**defaults, "fire_modules": len(self.fires)} if regular is None else regular
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        if regular is not None:
            object.__setattr__(self, "fires", None)

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
    def fire_filters(self) -> tuple[Fire, ...]:
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
        return placement.place(self.bypass, self.fire_filters)

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
        design = replace(self, **options) if options else self
        validation.check_replaced(design, options)
        return design

    def with_fires(self, sizes: Sequence[Sequence[int]]) -> Design:
        """Return a design with other sizes of its Fire modules, and the same bypasses.

        `simple` and `complex` would follow the sizes; here each module keeps its bypass and its
        kind, or has none as before.

        Args:
            sizes: (squeeze, expand1x1, expand3x3) of each module, from fire2 on.

        Raises:
            DesignError: a size is out of range, or a module with an identity around it has other
                output than input channels.
        """
        fires = tuple(map(tuple, sizes))
        design = self.with_options(fires=fires)
        if design.bypasses == self.bypasses:
            return design
        return self.with_options(fires=fires, bypass=placement.spell(self.bypasses))


# Errors of the constructor name the class that users know. A decorator of its own would make the
# same methods again, which takes 2 ms of each start.
DesignFields.__init__.__qualname__ = "Design.__init__"
