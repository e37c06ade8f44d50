"""How a net shrinks: pruning, weight sharing and coding, as Deep Compression does it."""
