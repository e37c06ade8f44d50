"""Damaged inputs and killed trainings (`make fuzz`)."""
