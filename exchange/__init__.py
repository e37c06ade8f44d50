"""Nets and weights in the forms of other frameworks."""
