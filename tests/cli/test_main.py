"""The command as a whole: quick to start, and no traceback for what a user can mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aclnet.cli.main import COMMANDS, cli, main
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
        (KeyboardInterrupt(), 130, "goes on where it stopped\n"),
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
