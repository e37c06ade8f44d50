"""McNemar's exact test: whether two classifiers differ on the same images."""

from __future__ import annotations

_NEGLIGIBLE_BITS = 64  # a rest below this part of the sum changes no double


def exact_mcnemar(newly_wrong: int, newly_right: int) -> float:
    """Return the two-sided p-value of McNemar's test, with binomial probabilities.

    If both classifiers were equally good, each image that only one of them has right would be a
    fair coin: p = min(1, 2 sum_{i <= m} C(n, i) / 2^n), n such images, m the smaller number
    (McNemar 1947, "Note on the sampling error of the difference between correlated proportions").

    Args:
        newly_wrong: images that the first has right and the second wrong.
        newly_right: images that the first has wrong and the second right.
    """
    n, m = newly_wrong + newly_right, min(newly_wrong, newly_right)
    if 2 * m >= n:
        return 1.0
    return min(1.0, 2 * _tail(n, m) / (1 << n))


def _tail(n: int, m: int) -> int:
    """Return the sum of C(n, i) for i from 0 to m < n / 2, as far as a double can tell."""
    import math

    term = total = math.comb(n, m)
    for i in range(m, 0, -1):
        term = term * i // (n - i + 1)  # C(n, i - 1)
        total += term
        if (term * i) << _NEGLIGIBLE_BITS < total:  # the rest is less than i such terms
            break
    return total
