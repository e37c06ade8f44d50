"""Prune channels: a smaller net that any Caffe loads (docs/pruning.md)."""
