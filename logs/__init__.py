"""Caffe's logs: parsing, results, and gates on them."""
