"""Weights of nets: statistics, matching by name, mapping between nets."""
