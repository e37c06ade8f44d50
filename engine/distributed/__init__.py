"""Training by several processes: who reads which records, sums of gradients, launching."""
