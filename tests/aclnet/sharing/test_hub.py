"""Stores and runs pushed to a Hub on loopback and pulled from it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import aclnet
from aclnet.cli.main import main
from aclnet.datasets.spec import AclnetError
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.sharing import hub as hub_module
from aclnet.sharing.hub import pull, push
from tests.cli.documents import check_json

# of the client's HTTP library
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SHAPE = b"PK\5\6" + bytes(18)  # npz without arrays
COMMIT = "0123456789abcdef" * 2 + "01234567"
PLACE = {"store": ("dataset", "me/people"), "run": ("model", "me/run")}


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


@pytest.mark.slow
def test_large_files_go_through_lfs_and_small_ones_do_not(pushed):
    large = {name for f in pushed.repositories.values() for name, x in f.items() if len(x) >= 2000}
    assert {"manifest.json", "checkpoints/last.pt"} <= large
    files = pushed.repositories[PLACE["run"]]
    assert hashlib.sha256(files["checkpoints/last.pt"]).hexdigest() in pushed.objects
    assert hashlib.sha256(files["config.toml"]).hexdigest() not in pushed.objects


@pytest.mark.slow
def test_a_store_comes_back_bit_for_bit_with_its_card(pushed, made_up_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pull("me/people")
    assert path == Path("people.zarr")
    found, card = digests(path), {"README.md", "croissant.json", "samples.csv"}
    assert card <= found.keys()
    assert {name: x for name, x in found.items() if name not in card} == digests(made_up_store)
    assert 'license: "cc-by-4.0"' in (path / "README.md").read_text()
    assert aclnet.open_store(path).digest == aclnet.open_store(made_up_store).digest
    assert not list(tmp_path.glob("*.pull*"))


def test_a_run_comes_back_and_scores_the_same(
    pushed, quick_run, made_up_store, assert_alike, tmp_path
):
    path = pull("me/run", tmp_path / "again")
    run = Run(path)
    found, theirs = digests(path), digests(quick_run.path)
    assert found.pop("README.md")
    assert found.items() <= theirs.items()
    assert {name.partition("/")[0] for name in theirs.keys() - found.keys()} <= {"tb", "lock"}
    weights = [r.weights() for r in (run, quick_run)]
    assert all(torch.equal(weights[0][name], weight) for name, weight in weights[1].items())
    found = aclnet.evaluate(run, made_up_store).scores
    expected = Scores.load(quick_run.test_scores)
    assert found.ids.tolist() == expected.ids.tolist()
    assert_alike(found.scores, expected.scores)


@pytest.mark.slow
def test_the_commands_print_documents(hub, quick_run, capsys, tmp_path):
    main(["push", str(quick_run.path), "me/run", "--json"])
    url = capsys.readouterr().out
    check_json(url)
    assert json.loads(url)["url"].startswith(f"{hub.address}/me/run")
    main(["pull", "me/run", "--out", str(tmp_path / "again"), "--json"])
    folder = capsys.readouterr().out
    check_json(folder)
    assert json.loads(folder)["folder"] == str(tmp_path / "again")


@pytest.mark.slow
def test_a_card_in_the_folder_is_uploaded_as_it_is(hub, quick_run, tmp_path):
    folder = shutil.copytree(quick_run.path, tmp_path / "run")
    (folder / "README.md").write_text("# Written by hand\n")
    push(folder, "me/run", private=True)
    assert hub.repositories[PLACE["run"]]["README.md"] == b"# Written by hand\n"
    assert hub.private == {"me/run"}


def test_a_public_repository_is_not_taken_for_a_private_one(hub, quick_run):
    hub.repositories[PLACE["run"]] = {}
    with pytest.raises(AclnetError, match="is public"):
        push(quick_run.path, "me/run", private=True)
    assert not hub.repositories[PLACE["run"]]


def test_secrets_beside_a_run_stay_here(hub, quick_run, tmp_path):
    """Only the files of a run are uploaded, whatever else lies in its folder."""
    folder = shutil.copytree(quick_run.path, tmp_path / "run")
    for name in (".env", "notes.txt", "checkpoints/other.pt", "tb/events"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("secret")
    push(folder, "me/run")
    assert b"secret" not in hub.repositories[PLACE["run"]].values()


@pytest.mark.slow
def test_a_second_push_replaces_the_first(pushed, people_store, tmp_path):
    push(people_store, "me/people")
    path = pull("me/people", tmp_path / "other.zarr")
    assert aclnet.open_store(path).digest == aclnet.open_store(people_store).digest
    listed = aclnet.open_store(path).manifest.all_files
    assert digests(path).keys() - listed.keys() == {
        *("manifest.json", "README.md", "croissant.json", "samples.csv")
    }


@pytest.mark.slow
def test_a_set_is_shared_with_its_members(hub, people_store, home_store, tmp_path):
    folder = tmp_path / "set.zarr"
    for path in (people_store, home_store):
        shutil.copytree(path, folder / path.stem)
    aclnet.finalise(folder, folder / "people", folder / "home")
    push(folder, "me/set")
    path = pull("me/set", tmp_path / "again.zarr")
    card = {"README.md", "croissant.json", "samples.csv"}
    assert {name: x for name, x in digests(path).items() if name not in card} == digests(folder)
    assert aclnet.open_store(path).digest == aclnet.open_store(folder).digest
    described = json.loads((path / "croissant.json").read_text())["distribution"]
    files = {one["name"]: one["sha256"] for one in described if "sha256" in one}
    assert files.keys() == {"samples.csv", "manifest.json"}
    assert files.items() <= digests(path).items()
    assert '"FOLDER/people", group="frames"' in (path / "README.md").read_text()
    aclnet.finalise(tmp_path / "outside.zarr", people_store, home_store)
    with pytest.raises(AclnetError, match="lies outside of the folder of the set"):
        push(tmp_path / "outside.zarr", "me/outside")


def test_no_file_of_a_set_leads_out_of_its_folder(hub, people_store, home_store, tmp_path):
    aclnet.finalise(tmp_path / "set.zarr", people_store, home_store)
    listed = (tmp_path / "set.zarr" / "manifest.json").read_bytes()
    hub.repositories["dataset", "me/set"] = {"manifest.json": listed}
    with pytest.raises(AclnetError, match="lies outside of the folder of the set"):
        pull("me/set", tmp_path / "again.zarr")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "file"),
    [("store", "samples/label/c/0"), ("run", "checkpoints/last.pt"), ("run", "run.json")],
)
def test_damage_on_the_hub_is_found_and_nothing_is_kept(pushed, kind, file, tmp_path):
    place = PLACE[kind]
    content = bytearray(pushed.repositories[place][file])
    content[len(content) // 2] ^= 1
    pushed.repositories[place][file] = bytes(content)
    with pytest.raises(AclnetError, match="damaged and were deleted"):
        pull(place[1], tmp_path / "got")
    assert not list(tmp_path.glob("got*"))


@pytest.mark.parametrize(
    "name",
    [
        "scores/xsub-test.npz",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("shape.npz", "split.csv")),
    ],
)
def test_damage_of_every_file_with_results_is_found(pushed, name, tmp_path):
    files = pushed.repositories[PLACE["run"]]
    record = json.loads(files["run.json"])
    record["split"]["sha256"] = hashlib.sha256(b"id,split\n").hexdigest()
    record["files"]["shape.npz"] = hashlib.sha256(SHAPE).hexdigest()
    del record["sha256"]
    files |= {
        "run.json": json.dumps(record).encode(),
        "split.csv": b"id,split\n",
        "shape.npz": SHAPE,
    }
    pull("me/run", tmp_path / "whole")
    assert (tmp_path / "whole" / name).is_file()
    files[name] = files[name][:-9]
    with pytest.raises(AclnetError, match=f"damaged and were deleted.*{name}"):
        pull("me/run", tmp_path / "got")
    assert not list(tmp_path.glob("got*"))


@pytest.mark.slow
def test_a_file_that_is_missing_on_the_hub_is_named(pushed, tmp_path):
    del pushed.repositories[PLACE["store"]]["samples/label/c/0"]
    with pytest.raises(AclnetError, match="samples/label/c/0"):
        pull("me/people", tmp_path / "got")
    assert not (tmp_path / "got").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../evil", "frames/../../evil", "/tmp/evil-of-the-tests"])
def test_no_name_leads_out_of_the_folder(pushed, name, tmp_path):
    """Neither those of the manifest, nor those that the Hub lists."""
    files = pushed.repositories[PLACE["store"]]
    manifest = json.loads(files["manifest.json"])
    manifest["files"][name] = {"bytes": 4, "sha256": hashlib.sha256(b"evil").hexdigest()}
    files |= {"manifest.json": json.dumps(manifest).encode(), name: b"evil"}
    with pytest.raises(AclnetError, match=r"manifest\.json is damaged"):
        pull("me/people", tmp_path / "in" / "got")
    pushed.repositories[PLACE["run"]] |= {f"scores/{name}": b"evil", name: b"evil"}
    pull("me/run", tmp_path / "in" / "run")
    assert not [f for f in tmp_path.rglob("*evil*") if "huggingface" not in f.parts]
    assert not Path("/tmp/evil-of-the-tests").exists()


@pytest.mark.slow
def test_code_that_a_run_names_is_not_imported(pushed, change_record, tmp_path):
    path = tmp_path / "marker"
    (tmp_path / "evil.py").write_text(f"open({str(path)!r}, 'w')\n")
    files = pushed.repositories[PLACE["run"]]
    config = files["config.toml"].decode()
    name = f"{tmp_path / 'evil.py'}:build"
    files["config.toml"] = (
        config.replace('name = "aclnet"', f'name = "{name}"')
        .replace('feature = "topology"', 'feature = "pooled"')
        .encode()
    )
    record = json.loads(files["run.json"])
    record["config_sha256"] = hashlib.sha256(files["config.toml"]).hexdigest()
    record.pop("sha256")
    files["run.json"] = json.dumps(record).encode()
    pull("me/run", tmp_path / "got")
    assert not path.exists()


@pytest.mark.slow
def test_pickled_objects_are_not_loaded(pushed, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "marker"), "w")

    torch.save({"network": Evil()}, tmp_path / "evil.pt")
    files = pushed.repositories[PLACE["run"]]
    files["checkpoints/last.pt"] = (tmp_path / "evil.pt").read_bytes()
    record = json.loads(files["run.json"])
    record |= {"files": None}
    record.pop("sha256")
    files["run.json"] = json.dumps(record).encode()
    with pytest.raises(AclnetError, match="holds objects other than tensors"):
        pull("me/run", tmp_path / "got")
    assert not (tmp_path / "marker").exists()


@pytest.mark.slow
def test_an_interrupted_download_goes_on(pushed, tmp_path):
    pushed.fail = {f"GET /datasets/me/people/resolve/{COMMIT}/split": 500}
    with pytest.raises(AclnetError, match="status 500"):
        pull("me/people", tmp_path / "got")
    assert (tmp_path / "got.pull").is_dir()
    assert not (tmp_path / "got").exists()
    pushed.fail, before = {}, set(pushed.requests)
    pushed.requests.clear()
    pull("me/people", tmp_path / "got")
    again = [r for r in pushed.requests if r.startswith("GET /datasets") and r in before]
    assert len(again) < len(aclnet.open_store(tmp_path / "got").manifest.all_files) / 2


def test_a_lost_history_is_found(pushed, tmp_path):
    files = pushed.repositories[PLACE["run"]]
    for name in [name for name in files if name.startswith("history.zarr/")]:
        del files[name]
    with pytest.raises(AclnetError, match=r"damaged and were deleted.*history\.zarr"):
        pull("me/run", tmp_path / "got")


@pytest.mark.parametrize("fails", ["run.json", "checkpoints"])
def test_a_download_has_no_files_of_an_interrupted_one_of_another_run(pushed, fails, tmp_path):
    pushed.repositories["model", "you/run"] = {
        **pushed.repositories[PLACE["run"]],
        "scores/of-you.csv": b"a,b\n1,2\n",
    }
    pushed.fail = {f"GET /you/run/resolve/{COMMIT}/{fails}": 500}
    with pytest.raises(AclnetError, match="status 500"):
        pull("you/run", tmp_path / "run")
    (tmp_path / "run.pull" / "scores").mkdir(exist_ok=True)
    (tmp_path / "run.pull" / "scores" / "of-you.csv").write_text("a,b\n1,2\n")
    pushed.fail = {}
    pull("me/run", tmp_path / "run")
    found = digests(tmp_path / "run")
    assert found.keys() == pushed.repositories[PLACE["run"]].keys()


@pytest.mark.slow
def test_of_two_kinds_one_is_chosen(pushed, tmp_path):
    pushed.repositories["model", "me/people"] = pushed.repositories[PLACE["run"]]
    with pytest.raises(AclnetError, match="--kind"):
        pull("me/people", tmp_path / "got")
    assert Run(pull("me/people", tmp_path / "got", kind="run")).finished


def test_another_repository_is_refused(pushed, tmp_path):
    pushed.repositories["model", "me/other"] = {"README.md": b"", "model.safetensors": b""}
    with pytest.raises(AclnetError, match=r"me/other holds no run of aclnet: it has no run\.json"):
        pull("me/other", tmp_path / "got")


def test_an_existing_folder_is_left_alone(pushed, tmp_path):
    with pytest.raises(AclnetError, match="already exists"):
        pull("me/run", tmp_path)


def test_a_damaged_store_is_not_uploaded(hub, people_store, tmp_path):
    folder = shutil.copytree(people_store, tmp_path / "people.zarr")
    file = folder / "frames/keypoint/c/0/0/0"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(AclnetError, match="damaged and was not uploaded"):
        push(folder, "me/people")
    assert not hub.requests


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ({"POST /api/repos": 401}, "hf auth login"),
        ({"POST /api/repos": 403}, "hf auth login"),
        ({"PUT /upload": 400}, "status 400"),
        ({"POST /api/models/me/run/commit": 500}, "status 500"),
        ({"POST /api/models/me/run/preupload": 404}, "does not have api/models/me/run/preupload"),
    ],
)
def test_refusals_of_a_push_are_told(hub, quick_run, fail, message, monkeypatch):
    hub.fail = fail
    with pytest.raises(AclnetError, match=message):
        push(quick_run.path, "me/run")


def test_a_wrong_token_is_told(pushed, tmp_path, monkeypatch):
    pushed.private.add("me/run")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(AclnetError, match="hf auth login"):
        pull("me/run", tmp_path / "got")


def test_what_is_not_there_is_told(pushed, tmp_path):
    with pytest.raises(AclnetError, match="has no me/nothing"):
        pull("me/nothing", tmp_path / "got")
    with pytest.raises(AclnetError, match="OWNER/NAME is expected"):
        pull("nothing", tmp_path / "got")
    for name in ("owner/x.git", "owner/a--b", "../.."):
        with pytest.raises(AclnetError, match="is not a name on the Hub"):
            pull(name, tmp_path / "got")
    with pytest.raises(AclnetError, match="neither a store nor a run"):
        push(tmp_path, "me/nothing")


def test_a_hub_out_of_reach_is_told(hub, quick_run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(AclnetError, match=r"127\.0\.0\.1:9 cannot be reached"):
        pull("me/run", tmp_path / "got")
    with pytest.raises(AclnetError, match=r"127\.0\.0\.1:9 cannot be reached"):
        push(quick_run.path, "me/run")


def test_without_the_package_the_remedy_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(AclnetError, match=r"pip install 'aclnet\[hub\]'"):
        pull("me/run", tmp_path / "got")
    assert hub_module.REPO_TYPES["run"] == "model"
