"""What net is meant: the design, its presets, and the text it becomes."""
