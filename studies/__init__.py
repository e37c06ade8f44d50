"""Studies: compare weights, settings and nets by their scores."""
