"""Search for the choice of the best score within a budget (docs/pruning.md)."""
