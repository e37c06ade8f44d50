"""From pictures and pretrained weights to a classifier."""
