"""The command as a whole: it starts quickly, and a user's mistake gives no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import aclnet as aclnet_package
from aclnet.cli.main import COMMANDS, GROUPS, cli, main
from aclnet.datasets.spec import AclnetError


def test_every_command_has_its_module_and_help():
    for name in COMMANDS:
        command = cli.get_command(None, name)
        assert command is not None
        assert command.help


def test_the_overview_names_every_command_and_imports_nothing_heavy():
    program = """
import sys
from aclnet.cli.main import main
try:
    main(["--help"])
finally:
    heavy = {"torch", "zarr", "numpy", "pandas", "dask", "rich", "pydantic"} & set(sys.modules)
    assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    for name, what in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert what.split()[0] in done.stdout


def test_the_installed_command_says_its_version():
    command = Path(sys.executable).with_name("aclnet")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("aclnet, version ")


@pytest.fixture
def failing(monkeypatch):
    """Makes every command fail with an exception of choice."""

    def set_error(error: BaseException) -> None:
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(cli, "invoke", fail)

    return set_error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (AclnetError("x.zarr: mend it so"), 2, "error: x.zarr: mend it so\n"),
        (OSError(28, "No space left on device", "/x"), 2, "No space left on device: '/x'\n"),
        (KeyboardInterrupt(), 130, "to resume\n"),
    ],
)
def test_mistakes_end_in_one_message(failing, capsys, error, status, said):
    failing(error)
    with pytest.raises(SystemExit) as ended:
        main(["info"])
    assert ended.value.code == status
    err = capsys.readouterr().err
    assert err.endswith(said)
    assert "Traceback" not in err


def test_debug_shows_the_traceback(failing):
    failing(AclnetError("x"))
    with pytest.raises(AclnetError):
        main(["--debug", "info"])


def test_our_own_faults_keep_their_traceback(failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["info"])


@pytest.mark.parametrize("arguments", [["fly"], ["info", "--wings"], ["prepare"]])
def test_wrong_usage_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Error: " in capsys.readouterr().err


def test_modalities_are_those_of_the_features():
    from aclnet.cli.options import MODALITY
    from aclnet.pipelines.inputs.features import MODALITIES

    assert tuple(MODALITY.choices) == MODALITIES


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_module_runs_as_the_command(option):
    done = subprocess.run(
        [sys.executable, "-m", "aclnet", option], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"aclnet, version {aclnet_package.__version__}\n"


def test_help_lists_each_command_once_under_a_heading(aclnet):
    out = aclnet("--help").out
    for heading, commands in GROUPS.items():
        block = out.split(f"{heading}:\n")[1].split("\n\n")[0]
        named = [line.split()[0] for line in block.splitlines() if line.startswith("  ")]
        assert [name for name in named if name in COMMANDS] == list(commands)
    assert sum(map(len, GROUPS.values())) == len(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("trian", "there is no command 'trian' (did you mean train?)"),
        ("exprt", "there is no command 'exprt' (did you mean export?)"),
        ("fly", "there is no command 'fly'"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(typed, message, aclnet):
    answer = aclnet(typed)
    assert answer.code == 2
    assert answer.words.endswith(message)


@pytest.mark.parametrize(
    ("arguments", "similar"),
    [
        (["datasets", "ntu6"], "ntu60"),
        (["prepare", "NTU_61"], "ntu60"),
        (["layouts", "ntu-rgb+d"], "nturgb+d"),
        (["recipes", "ntu60-xsb"], "ntu60-xsub"),
        (["synth", "kinetic", "x"], "kinetics"),
        (["synth", "ntu60", "x", "--form", "skeletn"], "skeleton"),
    ],
)
def test_a_mistyped_name_gets_a_suggestion(arguments, similar, aclnet):
    answer = aclnet(*arguments)
    assert answer.code == 2
    assert f" (did you mean {similar}?); known: " in answer.words
