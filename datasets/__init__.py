"""LMDB datasets: make one from images, inspect it, compute its mean."""
