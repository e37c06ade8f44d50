"""Runs of a caffe: preflight checks before, supervision while it runs, a record after."""
