"""What a result looks like: tables, curves, figures."""
