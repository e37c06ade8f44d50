"""glog's stamps as seconds since the first day of a log.

A stamp without a year gets an assumed one, which advances from December to January.
"""

from __future__ import annotations

from datetime import date

from .events import Stamp

_YEAR = 2000  # of stamps without one


class Clock:
    """Converts the stamps of one log to seconds, in the order of the log."""

    def __init__(self) -> None:
        self._date = ""
        self._first_day: int | None = None
        self._midnight = 0
        self._years = 0
        self._minute = ""
        self._minute_seconds = 0

    def seconds(self, stamp: Stamp) -> float | None:
        """Return seconds since the first day; None for a stripped or impossible stamp."""
        day, time, _ = stamp
        if not day or (day != self._date and not self._advance(day)):
            return None
        if time[:6] != self._minute:
            self._minute = time[:6]
            self._minute_seconds = self._midnight + int(time[:2]) * 3600 + int(time[3:5]) * 60
        return self._minute_seconds + float(time[6:])

    def _advance(self, text: str) -> bool:
        """Advance to another date; return false if it is no date."""
        if len(text) not in (4, 8):
            return False
        month, day = int(text[-4:-2]), int(text[-2:])
        if len(text) == 4 and self._date and month < int(self._date[-4:-2]) - 6:
            self._years += 1  # from December to January
        year = int(text[:4]) if len(text) == 8 else _YEAR + self._years
        if not (year and 1 <= month <= 12 and 1 <= day <= 31):
            return False
        ordinal = date(year, month, 1).toordinal() + day - 1  # so that 0229 is valid in any year
        if self._first_day is None:
            self._first_day = ordinal
        self._midnight = (ordinal - self._first_day) * 86400
        self._date, self._minute = text, ""
        return True
