"""Several stores as one, against their members one by one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import aclnet
from aclnet.datasets.opening import join, write_set
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.datasets.store.verify import verify
from aclnet.pipelines.inputs.sampling import UniformSampling


@pytest.fixture(scope="module")
def members(people_store, home_store):
    """Two single stores of the same joints, of other classes and other sizes of shards."""
    return Store(people_store), Store(home_store)


@pytest.fixture(scope="module")
def both(people_store, home_store):
    return aclnet.open_store(people_store, home_store)


@pytest.fixture
def named(people_store, home_store, tmp_path):
    """Copies of the members and a set of them, to be damaged."""
    for path in (people_store, home_store):
        shutil.copytree(path, tmp_path / path.name)
    aclnet.finalise(
        tmp_path / "both.zarr", tmp_path / people_store.name, tmp_path / home_store.name
    )
    return tmp_path / "both.zarr"


@pytest.mark.slow
def test_every_sequence_is_that_of_its_member(both, members):
    assert members[0].shard_rows != members[1].shard_rows
    assert len(both) == sum(map(len, members))
    singles = [(member, row) for member in members for row in range(len(member))]
    together = list(both.sequences(np.arange(len(both))))
    for row, ((member, own), in_order) in enumerate(zip(singles, together, strict=True)):
        alone = member.sequence(own)
        for found in (in_order, *([both.sequence(row)] if row % 7 == 0 else [])):
            assert found.sample_id == alone.sample_id
            for name in ("keypoint", "present", "frame_index"):
                np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
            assert both.class_names[found.label] == member.class_names[alone.label]
            assert (found.camera, found.source) == (alone.camera, alone.source)


@pytest.mark.slow
def test_shards_hold_the_rows_of_their_samples_and_nothing_else(both, members):
    # the last shard of the set is half empty
    assert both.shard_rows == 2 * members[1].shard_rows
    assert members[1].shards % 2
    used = 0
    for shard in range(both.shards):
        keypoint, present = both.read_shard(shard)
        numbers = both.read_frame_numbers(shard)
        assert len(keypoint) == len(present) == len(numbers) == both.shard_rows
        assert not present[numbers < 0].any()
        assert np.isnan(keypoint[numbers < 0]).all()
        assert np.isfinite(keypoint[numbers >= 0]).all()
        used += int((numbers >= 0).sum())
    rows = [m.column("n_persons").astype(int) * m.column("n_frames") for m in members]
    assert used == sum(int(r.sum()) for r in rows)
    packed = {name: [] for name in ("keypoint", "present", "index")}
    for store in (both, *members):
        parts = list(store.packed_rows())
        for name, found in packed.items():
            found.append(np.concatenate([part[name] for part in parts]))
    for found in packed.values():
        np.testing.assert_array_equal(found[0], np.concatenate(found[1:]))


def test_classes_are_joined_by_name_and_people_stay_apart(both, members):
    ntu, home = members
    assert both.class_names[:60] == ntu.class_names
    assert both.class_names[60:] == ["Clapping", "juggle"]
    labels = both.column("label")[len(ntu) :]
    names = [home.class_names[label] for label in home.column("label")]
    assert [both.class_names[label] for label in labels] == names
    assert {*ntu.column("subject")} & {*home.column("subject")}
    subjects = both.column("subject")
    assert not {*subjects[: len(ntu)].tolist()} & {*subjects[len(ntu) :].tolist()}
    np.testing.assert_array_equal(subjects[: len(ntu)], ntu.column("subject"))
    same = np.unique(subjects[len(ntu) :] - home.column("subject"))
    assert len(same) == 1
    told = [remark for remark in both.remarks if "Clapping" in remark]
    assert len(told) == 1
    assert "'clapping' and 'Clapping' are different classes" in told[0]
    assert "--classes" in told[0]


def test_protocols_are_the_common_ones_and_the_first_of_each(both, members, people_store):
    ntu, home = members
    assert both.protocols == ["joined"]
    for side in ("train", "test"):
        np.testing.assert_array_equal(
            both.mask(f"joined/{side}"),
            np.concatenate([ntu.mask(f"xsub/{side}"), home.mask(f"own/{side}")]),
        )
        counted = both.attributes.protocols["joined"][side]
        assert counted == both.mask(f"joined/{side}").sum()
    assert both.classes_of("joined") == both.class_names


@pytest.mark.slow
def test_protocols_by_name_and_by_choice(people_store, tmp_path, prepare_raw, people):
    raw = tmp_path / "others"
    raw.mkdir()
    for file in people.glob("*P001*"):
        shutil.copyfile(file, raw / file.name.replace("S001", "S002"))
    prepare_raw(raw, tmp_path / "others.zarr")
    one, other = Store(people_store), Store(tmp_path / "others.zarr")
    joined = aclnet.open_store(one.path, other.path)
    assert joined.protocols == ["xsub", "xview"]
    assert joined.mask("xview/test").sum() == sum(s.mask("xview/test").sum() for s in (one, other))
    # recordings of one published dataset have one numbering of subjects
    assert {*joined.column("subject")} == {*one.column("subject")}
    assert joined.name == "ntu60"
    record = join([one, other], protocols=["xview", "xsub"])
    write_set(tmp_path / "set.zarr", record)
    chosen = aclnet.open_store(tmp_path / "set.zarr")
    assert chosen.protocols == ["joined", "xsub", "xview"]
    wanted = np.concatenate([one.mask("xview/train"), other.mask("xsub/train")])
    np.testing.assert_array_equal(chosen.mask("joined/train"), wanted)
    with pytest.raises(AclnetError, match=r"no protocol 'xvieww' \(did you mean xview\?\)"):
        join([one, other], protocols=["xvieww", "xsub"])
    with pytest.raises(AclnetError, match="1 protocols were named for 2 members"):
        join([one, other], protocols=["xsub"])


@pytest.mark.slow
def test_an_epoch_has_every_sample_once_as_its_member_holds_it(both, members):
    sampling = UniformSampling(7)
    stream = both.stream("joined/train", batch_size=5, sampling=sampling, shuffle=False)
    seen = []
    for batch in stream:
        for b, row in enumerate(batch.sample.tolist()):
            member, own = members[0], row
            if row >= len(member):
                member, own = members[1], row - len(members[0])
            alone = member.sequence(own)
            chosen = sampling(batch.n_frames[b : b + 1], batch.key[b : b + 1])[0]
            np.testing.assert_array_equal(
                batch.keypoint[batch.owner == b], alone.keypoint[:, chosen]
            )
            assert both.class_names[batch.label[b]] == member.class_names[alone.label]
            seen.append(row)
    assert sorted(seen) == np.flatnonzero(both.mask("joined/train")).tolist()


@pytest.mark.slow
def test_shuffled_epochs_mix_members_and_resume_at_every_step(both, members):
    def stream(**options):
        sampling = UniformSampling(4)
        return both.stream("joined/train", batch_size=6, sampling=sampling, seed=3, **options)

    whole = stream()
    batches = list(whole)
    first = np.concatenate([batch.sample for batch in batches])
    assert len({*first.tolist()}) == len(first)
    mixed = [len({*(batch.sample >= len(members[0])).tolist()}) == 2 for batch in batches]
    assert sum(mixed) > len(batches) / 2
    for step in (0, 1, len(batches) // 2, len(batches) - 1):
        begun = stream(cache=0)
        for _, _batch in zip(range(step), begun, strict=False):
            pass
        resumed = stream()
        resumed.load_state_dict(begun.state_dict() | {"step": step})
        for found, wanted in zip(resumed, batches[step:], strict=True):
            np.testing.assert_array_equal(found.sample, wanted.sample)
            np.testing.assert_array_equal(found.keypoint, wanted.keypoint)
            np.testing.assert_array_equal(found.key, wanted.key)
    other = aclnet.open_store(members[1].path, members[0].path)
    turned = other.stream("joined/train", batch_size=6, sampling=UniformSampling(4), seed=3)
    with pytest.raises(AclnetError, match="saved with store"):
        turned.load_state_dict(whole.state_dict())


@pytest.mark.slow
def test_a_named_set_is_the_same_store_wherever_its_members_are(both, named, tmp_path):
    found = aclnet.open_store(named)
    assert found.digest == both.digest
    assert [str(m.path) for m in found.members] == [
        str(tmp_path / name) for name in ("people.zarr", "home.zarr")
    ]
    pd = pytest.importorskip("pandas")
    pd.testing.assert_frame_equal(found.samples, both.samples)
    assert list(verify(named)) == []
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("both.zarr", "people.zarr", "home.zarr"):
        (tmp_path / name).rename(moved / name)
    assert aclnet.open_store(moved / "both.zarr").digest == both.digest


def test_a_set_of_a_set(named, both, pixel_store, tmp_path, prepare_raw, people):
    raw = tmp_path / "more"
    raw.mkdir()
    for file in list(people.glob("*P001*"))[:6]:
        shutil.copyfile(file, raw / file.name.replace("S001", "S003"))
    prepare_raw(raw, tmp_path / "more.zarr")
    nested = aclnet.open_store(named, tmp_path / "more.zarr")
    assert len(nested) == len(both) + 6
    for row in (0, len(both) - 1, len(both), len(nested) - 1):
        store, own = (both, row) if row < len(both) else (nested.members[1], row - len(both))
        np.testing.assert_array_equal(nested.sequence(row).keypoint, store.sequence(own).keypoint)
        label = store.column("label")[own]
        assert nested.class_names[nested.column("label")[row]] == store.class_names[label]
    with pytest.raises(AclnetError, match=r"layout differ, nturgb\+d and coco"):
        aclnet.open_store(named, pixel_store.path)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["missing", "exchanged"])
def test_a_missing_or_exchanged_member_is_named(what, named, tmp_path, prepare_raw, home):
    member = tmp_path / "home.zarr"
    if what == "missing":
        shutil.rmtree(member)
        said = r"home\.zarr, a member of .*both.zarr, is missing"
    else:
        # the same recordings in another order
        prepare_raw(home, member, dataset="custom", overwrite=True, seed=1)
        said = r"home\.zarr is another store than the one .*both.zarr was joined from"
    with pytest.raises(AclnetError, match=said):
        aclnet.open_store(named)
    (damage,) = verify(named)
    assert "home.zarr" in damage


def test_verify_reads_the_members_of_a_set(named, tmp_path):
    file = next((tmp_path / "home.zarr" / "frames" / "keypoint" / "c").glob("*/*/*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (damage,) = verify(named)
    assert str(tmp_path / "home.zarr") in damage
    assert "differs from what was written" in damage


def test_a_damaged_manifest_of_a_set_is_refused(named, tmp_path):
    file = named / "manifest.json"
    good = json.loads(file.read_text())
    for change in ({"members": []}, {"members": [{"path": 1}]}, {"wings": 2}, {"plan": None}):
        file.write_text(json.dumps(good | change))
        with pytest.raises(AclnetError, match=r"manifest\.json is damaged"):
            aclnet.open_store(named)
    circle = dict(good["members"][0], path="../both.zarr")
    file.write_text(json.dumps(good | {"members": [circle, good["members"][1]]}))
    with pytest.raises(AclnetError, match="is another store than"):
        aclnet.open_store(named)


def test_equal_ids_are_an_error_or_get_the_name_of_their_store(
    people_store, made_up_store, tmp_path
):
    one, other = Store(people_store), Store(made_up_store)
    shared = {*one.column("id")} & {*other.column("id")}
    with pytest.raises(AclnetError, match=f"share {len(shared)} ids .*--prefix-ids") as refused:
        aclnet.open_store(people_store, made_up_store)
    assert str(people_store) in str(refused.value)
    assert str(made_up_store) in str(refused.value)
    record = join([one, other], prefix_ids=True)
    write_set(tmp_path / "set.zarr", record)
    joined = aclnet.open_store(tmp_path / "set.zarr")
    wanted = [f"people/{i}" for i in one.column("id")] + [f"ntu60/{i}" for i in other.column("id")]
    assert joined.column("id").tolist() == wanted
    assert joined.column("original").tolist() == wanted
    assert len(np.unique(joined.sample_keys)) == len(joined)
    row = joined.row_of(wanted[-1])
    np.testing.assert_array_equal(joined.sequence(row).keypoint, other.sequence(-1).keypoint)


@pytest.mark.slow
def test_classes_with_other_names_in_the_set(people_store, home_store, tmp_path):
    (tmp_path / "classes.csv").write_text(
        "class,name\nClapping,clapping\njuggle,throw\nthrow,throw\n"
    )
    out, paths = tmp_path / "set.zarr", (people_store, home_store)
    aclnet.finalise(out, *paths, classes=tmp_path / "classes.csv")
    joined = aclnet.open_store(out)
    assert joined.class_names == Store(people_store).class_names
    assert not joined.remarks
    home = Store(home_store)
    names = {"Clapping": "clapping", "juggle": "throw"}
    wanted = [home.class_names[label] for label in home.column("label")]
    found = [joined.class_names[label] for label in joined.column("label")[-len(home) :]]
    assert found == [names.get(name, name) for name in wanted]
    for text, said in (
        ("class\nx\n", ":1: no column name"),
        ("class,name\njugle,throw\n", r"has a class 'jugle' \(did you mean juggle\?\)"),
        ("class,name\njuggle,a\njuggle,b\n", r":3: 'juggle' has the name 'a' already"),
        ("class,name\njuggle,\n", ":2: class and name are both needed"),
    ):
        (tmp_path / "classes.csv").write_text(text)
        with pytest.raises(AclnetError, match=said):
            aclnet.finalise(out, *paths, classes=tmp_path / "classes.csv", overwrite=True)


@pytest.mark.slow
def test_stores_that_do_not_fit_together(people_store, home, prepare_raw, tmp_path):
    aligned = tmp_path / "aligned.zarr"
    prepare_raw(home, aligned, dataset="custom", align=True)
    with pytest.raises(AclnetError, match=r"normalisation differ, .*--align and --normalise") as no:
        aclnet.open_store(people_store, aligned)
    assert all(str(path) in str(no.value) for path in (people_store, aligned))


@pytest.mark.slow
def test_what_differs_between_members_is_told(people_store, home, prepare_raw, tmp_path):
    alone = tmp_path / "alone.zarr"
    prepare_raw(home, alone, dataset="custom", persons=1)
    remarks = aclnet.open_store(people_store, alone).remarks
    assert remarks[0] == (
        f"members were prepared with different persons: none ({people_store}), 1 ({alone})"
    )


@pytest.mark.slow
def test_people_of_different_datasets_are_different_classes(tmp_path, prepare_raw):
    from aclnet.datasets.synth import Request, get_generator

    for name in ("biwi", "ias-lab"):
        get_generator(name)(tmp_path / name, Request(sequences=12, subjects=3, seed=0))
        prepare_raw(tmp_path / name, tmp_path / f"{name}.zarr", dataset=name)
    paths = [tmp_path / f"{name}.zarr" for name in ("biwi", "ias-lab")]
    one, other = map(Store, paths)
    apart = aclnet.open_store(*paths)
    assert apart.class_names[0] == f"biwi/{one.class_names[0]}"
    assert len(apart.class_names) == len(one.class_names) + len(other.class_names)
    write_set(tmp_path / "same.zarr", join([one, other], same_people=True))
    same = aclnet.open_store(tmp_path / "same.zarr")
    assert len(same.class_names) == len({*one.class_names, *other.class_names})
    np.testing.assert_array_equal(same.column("subject")[-len(other) :], other.column("subject"))
