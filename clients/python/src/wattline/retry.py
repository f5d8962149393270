"""When a call is made again, and how long to wait before.

Pure decisions: chance and the time that has passed come as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Pause:
    """A step of an operation: wait."""

    seconds: float


@dataclass(frozen=True)
class Retry:
    """How persistent a client is.

    A call is made again where the server was busy (429) or could not be reached, which means that nothing was done;
    and where it was unavailable (503) or the connection broke, if the call may be carried out twice without harm:
    reads, and writes of samples. The wait doubles from ``first_seconds`` up to ``longest_seconds``, each by chance
    between a half and the whole of it; what the server asks for in ``Retry-After`` is the least.
    """

    attempts: int = 6
    """Attempts in all; 1 = never again."""
    first_seconds: float = 0.2
    longest_seconds: float = 10.0
    total_seconds: float = 60.0
    """No attempt begins later than this after the first one."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.attempts < 1:
            raise ValueError("attempts: at least 1")
        if not 0 <= self.first_seconds <= self.longest_seconds or self.total_seconds < 0:
            raise ValueError("seconds: 0 <= first_seconds <= longest_seconds, and total_seconds >= 0")

    def wait(self, attempt: int, asked_for: Optional[float], passed_seconds: float, chance: float) -> Optional[float]:
        """How long to wait after failed attempt number ``attempt`` (from 1); ``None`` = give up."""
        if attempt >= self.attempts:
            return None
        longest = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 30))
        seconds = max(longest * (0.5 + 0.5 * chance), asked_for or 0.0)
        return seconds if passed_seconds + seconds <= self.total_seconds else None


NEVER = Retry(attempts=1)
"""One attempt."""
