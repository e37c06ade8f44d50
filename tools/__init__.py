"""The `sqgen` commands: one module per command, terminal output, progress bars."""
