"""Measures and checks the training on one GPU: `python benchmarks/gpu.py --json gpu.json`.

It takes at most about eight minutes and needs no network. It prints a table of all figures beside
what is expected of them, and ends with status 1 if something is not met. Without a GPU, or with
`--accelerator cpu`, what needs CUDA is left out; `--quick` makes everything small.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path

import gpu_checks
import gpu_speed
import torch
from gpu_bed import Bed, Figure
from measure import machine

from aclnet.runs.device import resolve_accelerator

PARTS = {
    "ceilings": gpu_speed.ceilings,
    "parity": gpu_checks.parity,
    "precision": gpu_checks.precision,
    "steps": gpu_speed.steps,
    "waiting": gpu_checks.waiting,
    "repetition": gpu_checks.repetition,
    "stream": gpu_speed.stream,
    "launcher": gpu_speed.launcher,
    "commands": gpu_speed.commands,
    "variants": gpu_speed.variants,
}
"""Parts in the order of their weight: what does not fit into the time is left out from the end."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accelerator", default="auto", help="cpu or cuda. [default: auto]")
    parser.add_argument("--quick", action="store_true", help="Small shapes, for a test.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--minutes", type=float, default=7.5, help="No part begins after them.")
    parser.add_argument("--json", type=Path, help="File for the figures.")
    options = parser.parse_args()
    accelerator = resolve_accelerator(options.accelerator)
    # cuBLAS reads it before its first product, which is long before the deterministic training.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.cuda.get_device_name() if accelerator == "cuda" else "no GPU"
    print(f"{machine()}, {device}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        end = time.monotonic() + 60 * options.minutes
        figures = measure(Bed(accelerator, options.quick, Path(folder), end), options.only)
    missed = [figure for figure in figures if figure.met is False]
    print(f"\n{len(figures)} figures, {len(missed)} not as expected")
    if options.json:
        found = {"machine": machine(), "device": device, "figures": [asdict(f) for f in figures]}
        options.json.write_text(json.dumps(found, indent=1))
    return bool(missed)


def measure(bed: Bed, parts: list[str]) -> list[Figure]:
    """Figures of the parts, printed as they are found; a part that fails is one of them."""
    print("| part | what | value | expected | met |\n|---|---|---|---|---|", flush=True)
    found = []
    for name in parts:
        begun = time.monotonic()
        try:
            for figure in () if bed.late else PARTS[name](bed):
                found.append(figure)
                print(_line(figure), flush=True)
        except Exception as error:  # the other parts are worth their figures
            traceback.print_exc()
            found.append(Figure(name, "fails", str(error)[:200], "", "does not fail", met=False))
            print(_line(found[-1]), flush=True)
        spent = time.monotonic() - begun
        found.append(Figure(name, "whole part", spent, "s", "left out" if bed.late else ""))
        print(_line(found[-1]), flush=True)
    return found


def _line(figure: Figure) -> str:
    value = figure.value if isinstance(figure.value, str) else f"{figure.value:.4g}"
    met = {None: "", True: "yes", False: "NO"}[figure.met]
    return f"| {figure.part} | {figure.what} | {value} {figure.unit} | {figure.bound} | {met} |"


if __name__ == "__main__":
    sys.exit(main())
