"""What a net means: layers, shapes, lint, differences, costs."""
