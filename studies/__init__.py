"""Which of several is better: weights, settings and nets compared by what they score."""
