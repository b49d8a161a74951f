"""Campaigns of faults: `python -m tests.stress [CAMPAIGN...]`, and their results.

Each campaign writes its table into docs/reliability.md; the exit status is 1 after any failure.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.stress import damages, kills, races, scene, system, workers
from tests.stress.campaign import Tally
from tests.stress.commands import ROOT, Commands
from tests.stress.scene import EXPORTS, PREPARE, TRAIN, VARIANTS, Scene, Subject

PAGE = ROOT / "docs" / "reliability.md"
Campaign = Callable[[Scene, float, int], Iterator[Tally]]


def _kills(at: Scene, share: float, seed: int) -> Iterator[Tally]:
    numbers = {PREPARE: 130, VARIANTS: 60, TRAIN: 80, **dict.fromkeys(EXPORTS, 12)}
    for subject, number in numbers.items():
        yield kills.kill(at, subject, _of(number, share), seed)
    yield workers.kill_local_workers(at, _of(30, share), seed)


def _damages(at: Scene, share: float, seed: int) -> Iterator[Tally]:
    yield damages.damage_store(at, _of(1000, share), seed)
    yield damages.damage_run(at, _of(200, share), seed)


def _exchanges(at: Scene, share: float, seed: int) -> Iterator[Tally]:
    yield damages.exchange_in_store(at, _of(200, share), seed)
    yield damages.exchange_in_run(at, _of(60, share), seed)


def _races(at: Scene, share: float, seed: int) -> Iterator[Tally]:
    for one in races.RACES:
        yield races.race(at, *one, _of(30, share), seed)


def _workers(at: Scene, share: float, seed: int) -> Iterator[Tally]:
    for what in workers.OVER_TCP:
        yield workers.over_tcp(at, what, _of(6, share), seed)


def _system(at: Scene, share: float, seed: int) -> Iterator[Tally]:
    reads: dict[Subject, str] = {PREPARE: "raw", TRAIN: "store.zarr"}
    for subject, name in reads.items():
        number = _of(30 if subject is PREPARE else 10, share)
        yield system.send_signals(at, subject, number, seed)
        for limit in system.LIMITS:
            yield system.set_limits(at, subject, limit, number, seed)
        yield system.vanish(at, subject, name, number, seed)
        yield system.turn_back_the_clock(at, subject, number, seed)
        if system.can_mount():
            yield system.fill_the_disk(at, subject, number, seed)
            yield system.make_read_only(at, subject, number, seed)


CAMPAIGNS: dict[str, Campaign] = {
    "kills": _kills,
    "damages": _damages,
    "exchanges": _exchanges,
    "races": _races,
    "workers": _workers,
    "system": _system,
}
FUZZ = "fuzz"
"""The campaign that needs Atheris instead of a scene."""
NAMES = (*CAMPAIGNS, FUZZ)


def _fuzz(share: float, seed: int) -> tuple[list[str], bool]:
    """Rows of the fuzzing's table, one per group of targets, and whether all was right."""
    from tests.stress.fuzz.campaign import GROUPS, line_of, run_all

    results = {}
    for result in run_all(_of(120_000, share), seed):
        results[result.target] = result
        print(line_of(result), flush=True)  # noqa: T201
    rows = []
    for what, targets in GROUPS.items():
        found = [results[name] for name in targets if name in results]
        inputs, findings = (sum(r.inputs for r in found), sum(len(r.findings) for r in found))
        rows.append(f"| {what} ({len(found)} targets) | {inputs:,} | {findings} |")
    return rows, not any(result.findings for result in results.values())


def _of(number: int, share: float) -> int:
    return max(1, round(number * share))


def run(name: str, share: float, seed: int) -> bool:
    """Runs a campaign and writes its table; returns whether all was right."""
    begun, tallies = time.monotonic(), []
    if name == FUZZ:
        rows, right = _fuzz(share, seed)
        head = "| target | inputs | findings |\n|---|---|---|\n"
        _write(name, _where(name, share, seed, time.monotonic() - begun), head, rows)
        return right
    with Commands() as commands, tempfile.TemporaryDirectory() as folder:
        subjects = scene.SUBJECTS if name == "kills" else (PREPARE, TRAIN)
        at = scene.make_scene(commands, Path(folder), subjects)
        for tally in CAMPAIGNS[name](at, share, seed):
            tallies.append(tally)
            _show(tally)
    head = "| injected | how often | right | told | wrong |\n|---|---|---|---|---|\n"
    _write(name, _where(name, share, seed, time.monotonic() - begun), head, [*map(_row, tallies)])
    return not any(tally.wrong for tally in tallies)


def _show(tally: Tally) -> None:
    print(_row(tally), flush=True)  # noqa: T201
    for problem in tally.wrong:
        print(f"  {problem}", file=sys.stderr, flush=True)  # noqa: T201


def _row(tally: Tally) -> str:
    return (
        f"| {tally.what} | {tally.injected} | {tally.right} | {tally.told} | {len(tally.wrong)} |"
    )


def _where(name: str, share: float, seed: int, seconds: float) -> str:
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return (
        f"`python -m tests.stress {name} --share {share:g} --seed {seed}`, commit "
        f"{commit.strip()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{time.strftime('%Y-%m-%d')}, {seconds:.0f} s"
    )


def _write(name: str, where: str, head: str, rows: list[str]) -> None:
    """Replaces the campaign's table in the page."""
    table = f"{where}\n\n{head}" + "\n".join(rows)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"<!-- {name} -->")
    _, _, after = rest.partition(f"<!-- /{name} -->")
    page = f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{after}"
    PAGE.write_text(page, encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("campaigns", nargs="*", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--share", type=float, default=1.0, help="of the faults of a full campaign")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    unknown = set(chosen.campaigns) - {*NAMES}
    if unknown:
        parser.error(f"no campaign is called {', '.join(sorted(unknown))}")
    names = chosen.campaigns or NAMES
    right = [run(name, chosen.share, chosen.seed) for name in names]
    sys.exit(not all(right))


if __name__ == "__main__":
    main()
