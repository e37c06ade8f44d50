"""The published nets: for each a folder with generated files and a card."""
