"""Templates compiled by `make templates`."""
