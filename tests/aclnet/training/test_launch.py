"""Runs from a configuration to their end: which folder, which start, which machine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import stream
from aclnet.datasets.store.store import Store
from aclnet.evaluation.scorer import Scorer
from aclnet.runs.network import load_model
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.runs.splits import Fold
from aclnet.training.launch import TrainingRequest, make_fabric, plan_run


def test_out_that_holds_another_run(train_quickly, quick_run, recorder):
    before = (quick_run.path / "run.json").read_bytes()
    with pytest.raises(AclnetError, match=r"is run default-j-s0-.*another --out.*--fresh"):
        train_quickly(quick_run.path, "optim.lr=0.1")
    assert (quick_run.path / "run.json").read_bytes() == before
    train_quickly(quick_run.path, progress=recorder)
    assert recorder.rows == []


@pytest.mark.slow
def test_fresh_replaces_a_run_and_nothing_else(train_quickly, recorder, tmp_path):
    first = train_quickly(tmp_path / "run", "optim.epochs=1", fresh=True)
    again = train_quickly(tmp_path / "run", "optim.epochs=1", fresh=True, progress=recorder)
    assert len(recorder.rows) == 1
    assert again.path == first.path
    other = train_quickly(tmp_path / "run", "optim.epochs=2", fresh=True)
    assert other.record.name != first.record.name
    assert len(pd.read_csv(other.path / "metrics.csv")) == 2
    content = {file: file.read_bytes() for file in other.path.rglob("*") if file.is_file()}
    refused = ("optim.batch_size=32", "optim.accumulate=2")
    with pytest.raises(AclnetError, match="fewer than one batch"):
        train_quickly(tmp_path / "run", *refused, fresh=True)
    with other.claimed(), pytest.raises(AclnetError, match="is being trained by another process"):
        train_quickly(tmp_path / "run", "optim.epochs=2", fresh=True)
    assert {f: f.read_bytes() for f in other.path.rglob("*") if f.is_file()} == content
    (other.path / "config.toml").write_text("damaged")
    train_quickly(tmp_path / "run", "optim.epochs=1", fresh=True)
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("precious")
    with pytest.raises(AclnetError, match="is not a run of aclnet"):
        train_quickly(thesis, fresh=True)
    assert (thesis / "chapter1.tex").read_text() == "precious"


def test_nothing_is_left_behind_by_settings_that_cannot_work(store, quick, train_quickly, tmp_path):
    ids = store.column("id")
    only_train = tmp_path / "f.csv"
    only_train.write_text("\n".join(["id,split", *(f"{i},train" for i in ids[:8])]))
    attempts = [
        (("data.protocol=xview",), {}, "0 training"),
        ((), {"select": "val", "split_file": only_train}, "needs validation"),
        (("data.protocol=nobody",), {}, "no split"),
        (("data.per_class=2", "optim.batch_size=16"), {}, "holds 8 classes, but this split has 6"),
        (("optim.batch_size=32", "optim.accumulate=2"), {}, "fewer than one batch of 32"),
    ]
    for settings, options, message in attempts:
        with pytest.raises(AclnetError, match=message):
            train_quickly(tmp_path / "run", *settings, **options)
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_tested_classes_that_do_not_train_are_told(store, train_quickly, recorder, tmp_path):
    labels, ids = store.column("label"), store.column("id")
    trains = store.mask("xsub/train") & (labels != labels[store.mask("xsub/test")][0])
    file = tmp_path / "mine.csv"
    rows = [f"{i},train" for i in ids[trains]] + [f"{i},test" for i in ids[store.mask("xsub/test")]]
    file.write_text("\n".join(["id,split", *rows]))
    train_quickly(tmp_path / "run", "optim.epochs=1", split_file=file, progress=recorder)
    (remark,) = recorder.remarks
    assert remark.startswith("protocol mine tests a class without training recordings")
    assert remark.endswith(store.class_names[labels[store.mask("xsub/test")][0]])


@pytest.mark.slow
def test_a_file_without_test_samples_trains_and_scores_nothing(store, train_quickly, tmp_path):
    ids = store.column("id")[store.mask("xsub/train")]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["id,split", *(f"{i},train" for i in ids)]))
    run = train_quickly(tmp_path / "run", "optim.epochs=1", split_file=file)
    assert run.finished
    assert run.result == {"select": "last"}
    assert not (run.path / "scores").exists()
    assert run.split_file.read_bytes() == file.read_bytes()


def test_held_out_subjects_are_never_trained_on(store, train_quickly, tmp_path):
    run = train_quickly(tmp_path / "run", "optim.epochs=1", select="val")
    held_out = run.record.split.held_out
    subjects = {int(s) for s in held_out.removeprefix("subjects ").split(", ")}
    chosen = store.mask("xsub/train") & np.isin(store.column("subject"), list(subjects))
    confusion = run.history.read("confusion/eval", 0)
    assert confusion.sum() == chosen.sum()
    trained = run.history.read("confusion/train", 0).sum()
    assert trained == (store.mask("xsub/train").sum() - chosen.sum()) // 8 * 8
    assert Scores.load(run.scores("xsub-test")).ids.tolist() == sorted(
        store.column("id")[store.mask("xsub/test")]
    )


@pytest.mark.slow
def test_a_fold_is_tested_and_found_again(store, train_quickly, tmp_path):
    run = train_quickly(tmp_path / "run", "optim.epochs=1", fold=Fold(2, 4))
    subject = sorted(set(store.column("subject")[store.mask("xsub/train")].tolist()))[1]
    tested = store.mask("xsub/train") & (store.column("subject") == subject)
    ids = sorted(store.column("id")[tested])
    assert Scores.load(run.test_scores).ids.tolist() == ids
    assert run.test_scores.name == "xsub-fold2of4-test.npz"
    assert Run(run.path).fold == Fold(2, 4)
    assert run.history.read("confusion/train", 0).sum() <= store.mask("xsub/train").sum() - len(ids)
    scorer = Scorer(run, store)
    assert scorer.split == "xsub-fold2of4/test"
    np.testing.assert_array_equal(scorer.mask, tested)

    def rename_a_subject(other):
        subjects = other.column("subject").copy()
        subjects[tested] = 99
        other._columns["subject"] = subjects

    with pytest.raises(AclnetError, match=r"other subjects than the run's store.*--split"):
        Scorer(run, Fewer(store.path, rename_a_subject))


@pytest.mark.slow
def test_families_of_the_test_set_are_remarked_upon(train_quickly, recorder, tmp_path):
    settings = ("optim.epochs=1", "loss.families.source=val")
    train_quickly(tmp_path / "run", *settings, select="test", progress=recorder)
    assert recorder.remarks == [
        "the validation samples are the test set: the families come from its confusions"
    ]


class Fewer(Store):
    """The store with other classes, or another layout."""

    def __init__(self, path, change) -> None:
        super().__init__(path)
        change(self)


@pytest.mark.slow
def test_fine_tuning_starts_from_the_weights_of_another_run(
    train_quickly, quick_run, recorder, tmp_path
):
    run = train_quickly(
        tmp_path / "run",
        "optim.epochs=1",
        "optim.lr=1e-30",
        init_from=quick_run.path,
        progress=recorder,
    )
    before, after = quick_run.weights(), run.weights()
    for name, value in before.items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(after[name], value, rtol=0, atol=0, msg=name)
    assert recorder.remarks == []
    assert run.record.init_from == quick_run.record.name


@pytest.mark.slow
def test_fine_tuning_with_other_classes_gets_a_new_head(
    store, train_quickly, quick_run, recorder, tmp_path
):
    """As many classes, but others: their weights mean something else."""

    def rename(other):
        other.class_names = [f"other {name}" for name in other.class_names]

    run = train_quickly(
        tmp_path / "run",
        "optim.epochs=1",
        "optim.lr=1e-30",
        init_from=quick_run.path,
        progress=recorder,
        store=Fewer(store.path, rename),
    )
    before, after = quick_run.weights(), run.weights()
    assert torch.equal(before["gcn.3.gcn.A"], after["gcn.3.gcn.A"])
    assert not torch.equal(before["fc_cls.weight"], after["fc_cls.weight"])
    assert (after["fc_cls.bias"].abs() < 1e-6).all(), "initial"
    assert recorder.remarks == ["starts from quick with a new head, because the classes differ"]


def test_fine_tuning_on_another_layout_or_size_is_refused(
    store, train_quickly, quick_run, tmp_path
):
    def rename(other):
        other.layout = other.layout.model_copy(update={"joints": ("Bum", *other.layout.joints[1:])})

    with pytest.raises(AclnetError, match=r"was trained on layout nturgb\+d"):
        train_quickly(tmp_path / "run", init_from=quick_run.path, store=Fewer(store.path, rename))
    with pytest.raises(AclnetError, match=r"do not fit: .* layout, model\.name, model\.size"):
        train_quickly(tmp_path / "run", "model.size=small", init_from=quick_run.path)


def test_a_damaged_checkpoint_stops_resuming(train_quickly, quick_run, tmp_path, change_record):
    run = train_quickly(tmp_path / "run", "optim.epochs=2")
    change_record(run.path, finished=False)
    path = run.checkpoint("last")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(AclnetError, match=r"last\.pt was not loaded"):
        train_quickly(tmp_path / "run", "optim.epochs=2")
    state = quick_run.load("last")
    state["network"]["model.fc_cls.weight"] = torch.zeros(7, 64)
    run.save("last", state)
    with pytest.raises(AclnetError, match=r"last\.pt does not fit the run's configuration"):
        train_quickly(tmp_path / "run", "optim.epochs=2")
    path.write_bytes(whole)
    assert train_quickly(tmp_path / "run", "optim.epochs=2").finished


@pytest.mark.parametrize(
    ("accelerator", "devices", "message"),
    [
        ("abacus", "1", "--accelerator abacus --devices 1: "),
        ("cpu", "0", "--accelerator cpu --devices 0: "),
        ("cpu", "many", "--accelerator cpu --devices many: "),
    ],
)
def test_machines_that_there_are_not(accelerator, devices, message, quick):
    with pytest.raises(AclnetError, match=message):
        make_fabric(quick(), accelerator, devices)


def test_half_precision_needs_a_gpu(quick):
    with pytest.raises(AclnetError, match="bf16-mixed"):
        make_fabric(quick("optim.precision=16-mixed"), "cpu")


@pytest.fixture
def gpu(monkeypatch):
    """A GPU for the choice of settings; `has` says whether it has bfloat16."""
    has = {"bfloat16": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has["bfloat16"])
    return has


def test_a_gpu_with_bfloat16_uses_it_by_default(store, gpu):
    def precision(*settings, **options):
        return TrainingRequest.of(store, settings=settings, **options).config.optim.precision

    assert {precision(), precision(accelerator="cuda"), precision(accelerator="gpu")} == {
        "bf16-mixed"
    }
    assert precision("optim.precision=32-true") == "32-true"
    assert precision("optim.precision=16-mixed") == "16-mixed"
    assert precision("settings=official") == "32-true"
    assert precision(accelerator="cpu") == "32-true"
    gpu["bfloat16"] = False
    assert precision() == "32-true"


def test_the_precision_is_part_of_a_run_if_it_is_not_float32(store, gpu):
    def name(*settings, accelerator="auto"):
        request = TrainingRequest.of(store, settings=settings, accelerator=accelerator)
        return plan_run(store, request).name

    assert name() == name("optim.precision=bf16-mixed", accelerator="cpu")
    assert name("optim.precision=32-true") == name(accelerator="cpu") != name()
    gpu["bfloat16"] = False
    assert name() == name(accelerator="cpu")


def test_a_batch_that_does_not_divide_into_the_processes(store, quick, recorder, tmp_path):
    from aclnet.training.launch import train_run

    class Three:
        world_size, is_global_zero = 3, True

    with pytest.raises(AclnetError, match="batch_size=8 cannot be divided by 3 processes"):
        train_run(Three(), store, TrainingRequest(quick()), recorder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_number_of_lanes_is_part_of_a_run_if_there_are_several(store, quick, monkeypatch):
    """Runs of one lane keep the names that they had before there were lanes."""

    def planned(*settings):
        return plan_run(store, TrainingRequest(quick("data.window=2", *settings)))

    one = planned()
    assert one.config.data.lanes is None
    monkeypatch.setattr(stream, "_SHARDS_PER_LANE", 1)
    two = planned()
    assert two.config.data.lanes == 2
    assert two.name == planned("data.lanes=2").name != one.name
    assert planned("data.lanes=1").name == one.name
    assert planned("data.per_class=1").config.data.lanes is None


@pytest.mark.slow
def test_load_model_gives_the_weights_that_were_selected(quick_run):
    model = load_model(quick_run)
    assert not model.training
    stored = torch.load(quick_run.checkpoint("last"), weights_only=True)["network"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[f"model.{name}"])
    assert Run(quick_run.path).selected == "last"


@pytest.mark.slow
def test_a_protocol_of_fewer_classes_trains_a_network_of_them(
    made_up_store, prepare_raw, train_quickly, assert_alike, tmp_path
):
    """NTU 60's protocols in an NTU-120 store; such a network is tested on NTU-60 stores too."""
    raw = made_up_store.parent / "raw"
    prepare_raw(raw, tmp_path / "ntu120.zarr", dataset="ntu120")
    large = Store(tmp_path / "ntu120.zarr")
    assert len(large.class_names) == 120
    run = train_quickly(tmp_path / "run", "optim.epochs=1", "data.protocol=ntu60-xsub", store=large)
    assert run.class_names == large.class_names[:60]
    assert run.history.read("confusion/train", 0).shape == (60, 60)
    scores = Scores.load(run.test_scores)
    assert scores.scores.shape == (12, 60)
    small = Scorer(run, Store(made_up_store), "xsub/test").score()
    assert_alike(small.scores, scores.scores)
    whole = train_quickly(tmp_path / "whole", "optim.epochs=1", store=large)
    assert len(whole.class_names) == 120
