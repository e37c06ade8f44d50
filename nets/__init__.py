"""Nets: layer types, the graph, shapes, lint, differences and costs."""
