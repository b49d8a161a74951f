"""Two commands of prepare at the same time, and jobs that outlive their command."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.verify import verify
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.shards import make_shard
from aclnet.pipelines.prepare.stages import prepare
from tests.pipelines.prepare.killing import manifest_of


@pytest.fixture
def run_command(capsys):
    """Runs a command line: its exit status, and all that it printed on stderr."""
    from aclnet.cli.main import main

    def run(*arguments: str) -> SimpleNamespace:
        code = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = stop.code
        return SimpleNamespace(code=code, err=capsys.readouterr().err)

    return run


WAITING = """
import sys
from aclnet.cli.main import main
from aclnet.pipelines.prepare import stages
make = stages._make

def announce(*args):
    print("begun", flush=True)
    sys.stdin.readline()
    return make(*args)

stages._make = announce
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("other_ends", ["first", "last"])
def test_of_two_at_the_same_time_one_is_refused(few, few_store, tmp_path, run_command, other_ends):
    out = tmp_path / "t.zarr"
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "begun\n"
        refused = [run_command(*command), run_command(*command, "--overwrite")]
        if other_ends == "first":
            child.kill()
            child.wait()
            assert run_command(*command).code == 0
        else:
            child.communicate("go\n")
            assert child.returncode == 0
    for answer in refused:
        assert answer.code == 2
        assert f"{out} is being prepared by another process (process {child.pid}" in answer.err
        assert answer.err.count("error: ") == 1
    assert manifest_of(out) == manifest_of(few_store)
    assert list(verify(out)) == []
    assert [f.name for f in tmp_path.iterdir()] == ["t.zarr"]
    assert "nothing to do" in run_command(*command).err


def test_late_jobs_of_another_plan_change_nothing(few, tmp_path, small_batches):
    """dask cannot stop a running job when a command is interrupted."""
    late = []

    def interrupted(function, jobs):
        jobs = list(jobs)
        late.append((function, jobs[0]))
        if function is make_shard:
            raise InterruptedError
        yield from map(function, jobs)

    def disturbed(function, jobs):
        for job in jobs:
            yield function(job)
            for old, its_job in late:
                with suppress(OSError):
                    old(its_job)

    def go(name, run, **options):
        source = open_raw(get_dataset("ntu60"), few)
        prepare(source, tmp_path / name, PrepareOptions(**options), run, overwrite=True)

    with pytest.raises(AclnetError, match="to resume"):
        go("a.zarr", interrupted)
    go("a.zarr", disturbed, align=True)
    go("b.zarr", lambda function, jobs: map(function, jobs), align=True)
    assert len(late) == 2
    assert list(verify(tmp_path / "a.zarr")) == []
    assert manifest_of(tmp_path / "a.zarr") == manifest_of(tmp_path / "b.zarr")
