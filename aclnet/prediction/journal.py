"""The journal of a prediction task, from which an interrupted task resumes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aclnet.datasets.spec import AclnetError
from aclnet.prediction.files import Outcome
from aclnet.runs.writing import naming, writing

if TYPE_CHECKING:
    from pathlib import Path


def journal_path(out: Path) -> Path:
    """Path of the journal of a table: `OUT.part` beside it, until the table is written."""
    return out.with_name(f"{out.name}.part")


class Journal:
    """Results of the recordings so far, one line each.

    A process may be interrupted at any time: only complete lines count. Outcomes with a rejection
    are not kept: the recording may be repaired, or readable, when the task resumes.

    Args:
        path: the journal's file, see `journal_path`.
        identity: plain values that determine the rows: runs, weights, settings.
        overwrite: start again.

    Raises AclnetError if the journal has outcomes of another identity.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, overwrite: bool = False) -> None:
        self.path = path
        self.outcomes: dict[str, Outcome] = {}
        head = json.dumps(identity, sort_keys=True)
        content = self.path.read_bytes() if self.path.is_file() and not overwrite else b""
        whole = content[: content.rfind(b"\n") + 1]
        first, *lines = whole.decode("utf-8", "replace").splitlines() or [""]
        if not lines:
            with writing(self.path) as temporary:
                temporary.write_text(head + "\n", encoding="utf-8")
            return
        if first != head:
            raise AclnetError(
                f"{self.path} was begun with other runs, other options, another folder to watch or "
                "another version of aclnet; finish it with those, or start again with --overwrite"
            )
        with self.path.open("r+b") as file:
            file.truncate(len(whole))
        for line in lines:
            outcome = _outcome(line, self.path)
            self.outcomes[outcome.key] = outcome

    def add(self, outcome: Outcome) -> None:
        """Appends an outcome that is not known, unless it has a rejection."""
        if outcome.rejection is not None or outcome.key in self.outcomes:
            return
        self.outcomes[outcome.key] = outcome
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": outcome.key, "rows": outcome.rows}) + "\n")

    def remove(self) -> None:
        """Deletes the journal, after the table is written."""
        self.path.unlink(missing_ok=True)


def _outcome(line: str, path: Path) -> Outcome:
    try:
        found = json.loads(line)
        return Outcome(found["key"], found["rows"])
    except (ValueError, KeyError, TypeError):
        raise AclnetError(f"{path} is damaged; start again with --overwrite") from None
