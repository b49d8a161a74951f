"""Folders of own recordings, as the tests of public cases write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def folder(tmp_path: Path, contents: dict[str, Any], columns: str = "", toml: str = "") -> Path:
    """Recordings of JSON, the last one tested. `columns`: further ones, `width,height=640,480`."""
    names, _, values = columns.partition("=")
    lines = ["id,file,label,subject,split" + (f",{names}" if names else "")]
    for n, (file, content) in enumerate(contents.items(), start=1):
        side = "test" if n == len(contents) else "train"
        row = f"{file.rsplit('.', 1)[0]},{file},class {n % 2},{n},{side}"
        lines.append(row + (f",{values}" if names else ""))
        parts = content if isinstance(content, Files) else {file: content}
        for path, part in parts.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            text = part if isinstance(part, str) else json.dumps(part)
            (tmp_path / path).write_text(text)
    (tmp_path / "index.csv").write_text("\n".join(lines))
    if toml:
        (tmp_path / "dataset.toml").write_text(toml)
    return tmp_path


class Files(dict[str, Any]):
    """Several files of one recording, by path."""
