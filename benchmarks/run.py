"""All benchmarks, and the table of docs/performance.md: `python benchmarks/run.py`.

Only ratios within one run are comparable: both ways are measured in turn on one machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import data_path
import footprint
import method
import occlusion
import prediction
import torch
from measure import ROOT, Row, machine

_PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- measured -->", "<!-- /measured -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", choices=["data", "method", "occlusion", "prediction", "footprint"]
    )
    parser.add_argument(
        "--folder", type=Path, help="Folder of synthetic files. [default: temporary]"
    )
    parser.add_argument("--real", type=Path, help="Real recordings, for the sizes on disk.")
    options = parser.parse_args()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        parts = {
            "data": lambda: data_path.rows(folder, options.rounds),
            "method": lambda: method.rows(options.rounds),
            "occlusion": lambda: occlusion.rows(folder),
            "prediction": lambda: prediction.rows(folder, options.rounds),
            "footprint": lambda: footprint.rows(folder, options.rounds, options.real),
        }
        for name, make in parts.items():
            if options.only in (None, name):
                for row in make():
                    found.append(row)
                    print(_line(row), flush=True)
    if options.only is None:
        _write(found)


def _line(row: Row) -> str:
    ratio = f"{row.ratio:.1f}" if row.ratio else ""
    return f"| {row.what} | {row.peer} | {row.ours} | {ratio} | {row.reach} |"


def _write(found: list[Row]) -> None:
    head = "| what | customary way | aclnet | ratio | to reach |\n|---|---|---|---|---|\n"
    where = f"{machine()}, {torch.get_num_threads()} threads, {footprint.now()}"
    table = f"{where}\n\n{head}" + "\n".join(map(_line, found))
    text = _PAGE.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _PAGE.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}")
    print(f"written to {_PAGE}")


if __name__ == "__main__":
    main()
