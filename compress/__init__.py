"""Compression of a net as in Deep Compression: pruning, weight sharing and coding."""
