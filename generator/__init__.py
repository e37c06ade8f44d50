"""The generator: a design, its presets, and the prototxt it becomes."""
