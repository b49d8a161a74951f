"""Counts of a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts for one kind of fault: how often it was injected, and its results."""

    what: str
    injected: int = 0
    right: int = 0
    """The result was that of an undisturbed command, at once or after the same command again."""
    told: int = 0
    """The command was refused, with a message that names the file."""
    wrong: list[str] = field(default_factory=list)
    """Failures: other results, tracebacks, remaining files, commands that hang."""

    def count(self, problem: str, *, told: bool = False) -> None:
        """Counts one fault; an empty `problem` means a right result."""
        self.injected += 1
        if problem:
            self.wrong.append(problem)
        elif told:
            self.told += 1
        else:
            self.right += 1
