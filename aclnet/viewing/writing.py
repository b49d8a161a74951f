"""A view as a file, in the form of the file's suffix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.spec import AclnetError, any_of

if TYPE_CHECKING:
    from aclnet.viewing.forms import View

ENDINGS = (".html", ".png", ".gif", ".mp4")
"""Suffixes of files that `write_view` writes."""
_LONGEST = 100


def default_file(view: View) -> Path:
    """A page in the working folder, named after the recording."""
    name = re.sub(r"[^\w.#@+-]", "_", view.title)[:_LONGEST].lstrip(".") or "recording"
    return Path(f"{name}.html")


def check_ending(path: Path) -> None:
    """Raises AclnetError if a view cannot be written to a file of this name."""
    if path.suffix.lower() not in ENDINGS:
        raise AclnetError(f"{path}: a view is written to {any_of(ENDINGS)}")


def write_view(view: View, path: Path) -> None:
    """Writes a page (.html), a strip of frames (.png) or an animation (.gif, .mp4).

    Raises AclnetError for another suffix, if the file cannot be written, and for .mp4 without
    ffmpeg.
    """
    check_ending(path)
    ending = path.suffix.lower()
    if ending == ".html":
        from aclnet.viewing.page import write_page

        write_page(view, path)
        return
    from aclnet.viewing.figures import write_animation, write_strip  # matplotlib takes long

    (write_strip if ending == ".png" else write_animation)(view, path)
