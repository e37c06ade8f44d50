"""The version of sqgen."""

__version__ = "0.1.0"
