"""Coverage-guided fuzzing of every parser: files and texts from outside, mutated many times.

A parser may return a value, or raise AclnetError or DamageError with a message. Anything else is a
finding: another exception, a warning, a crash of the process, more than `SECONDS` or `MEGABYTES`,
a read outside the folder of the input, a write, a new process, a connection.

    python -m tests.stress.fuzz                              # list the targets
    python -m tests.stress.fuzz json --inputs 5000 --seed 1  # one target
    python -m tests.stress.fuzz all --inputs 100000          # all targets, so many together

Atheris (`pip install 'aclnet[stress]'`) generates the inputs and measures the coverage of aclnet.
`tests/stress/test_fuzz.py` examines some inputs of each target without Atheris.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.stress.fuzz.campaign import TARGETS, fuzz_here, line_of, run_all, run_target


def main() -> None:
    """Fuzzes a target, or all, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=[*TARGETS, "all"], metavar="TARGET")
    parser.add_argument("--inputs", type=int, default=1000, help="inputs to examine")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--out", type=Path, help="where inputs that are findings are kept")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.target is None:
        print("\n".join(TARGETS))  # noqa: T201 - what was asked for
    elif asked.child:
        fuzz_here(asked.target, asked.inputs, asked.seed, asked.child, asked.out)
    else:
        rest = (asked.inputs, asked.seed, asked.out)
        results = []
        for result in (
            run_all(*rest) if asked.target == "all" else [run_target(asked.target, *rest)]
        ):
            print(line_of(result), flush=True)  # noqa: T201 - the report
            results.append(result)
        print(f"{sum(result.inputs for result in results):,} inputs")  # noqa: T201
        sys.exit(any(result.findings for result in results))


if __name__ == "__main__":
    main()
