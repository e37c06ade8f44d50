"""Caffe's runtime on PyTorch, behind Caffe's own command line."""
