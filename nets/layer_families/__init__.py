"""The rows of the table of layer types, family by family: each module registers its own."""
