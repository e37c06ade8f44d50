"""The board: a local, read-only page over run folders."""
