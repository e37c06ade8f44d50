"""Prune a net: its files without the channels that go, and what that saves."""

from __future__ import annotations
