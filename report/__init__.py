"""Reports of results: tables, curves, figures."""
