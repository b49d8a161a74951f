"""The campaigns of `python -m tests.stress` in their short form."""

from __future__ import annotations

import pytest

from tests.stress import damages, kills, races, system, workers
from tests.stress.commands import Commands
from tests.stress.scene import EXPORTS, PREPARE, SUBJECTS, TRAIN, VARIANTS, make_scene

SEED = 1

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with Commands() as commands:
        yield make_scene(commands, tmp_path_factory.mktemp("scene"), SUBJECTS)


def check(tally, number):
    """Every injected fault gave the right result or a message."""
    assert tally.wrong == []
    assert tally.injected == tally.right + tally.told
    assert tally.injected >= number * 2 / 3  # some damages change nothing
    return tally


@pytest.mark.parametrize(
    ("subject", "number"),
    [
        (PREPARE, 3),
        *((other, 2) for other in (VARIANTS, TRAIN, *EXPORTS)),
    ],
)
def test_killed_commands_go_on(scene, subject, number):
    check(kills.kill(scene, subject, number, SEED), number)


def test_killed_workers(scene):
    check(workers.kill_local_workers(scene, 2, SEED), 2)


@pytest.mark.parametrize("what", workers.OVER_TCP)
def test_failures_of_a_cluster(scene, what):
    tally = check(workers.over_tcp(scene, what, 1, SEED), 1)
    assert tally.told == (what in workers.REFUSED)


def test_damage_to_a_store_is_told_or_makes_no_difference(scene):
    assert check(damages.damage_store(scene, 40, SEED), 40).told
    assert check(damages.exchange_in_store(scene, 20, SEED), 20).told


def test_damage_to_a_run_is_told_or_makes_no_difference(scene):
    assert check(damages.damage_run(scene, 4, SEED), 4).told
    assert check(damages.exchange_in_run(scene, 2, SEED), 2).told


@pytest.mark.parametrize("one", races.RACES, ids=[one[0] for one in races.RACES])
def test_two_commands_at_once(scene, one):
    check(races.race(scene, *one, 1, SEED), 1)


@pytest.mark.parametrize("subject", [PREPARE, TRAIN])
def test_signals_end_a_command_well(scene, subject):
    check(system.send_signals(scene, subject, 2, SEED), 2)


@pytest.mark.parametrize(
    ("subject", "reads"),
    [(PREPARE, "raw"), (TRAIN, "store.zarr")],
)
def test_what_the_system_takes_away(scene, subject, reads):
    for name in system.LIMITS:
        check(system.set_limits(scene, subject, name, 1, SEED), 1)
    check(system.vanish(scene, subject, reads, 2, SEED), 2)
    check(system.turn_back_the_clock(scene, subject, 1, SEED), 1)
