"""What a person types: the `sqgen` commands."""
