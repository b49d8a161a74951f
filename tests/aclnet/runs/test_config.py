"""Settings over recipes, and the identity of a configuration."""

from __future__ import annotations

import math
import tomllib

import pytest
from pydantic import BaseModel

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.inputs.masking import LIMBS
from aclnet.runs.config import Config, ModelConfig, build_config, validate
from aclnet.runs.recipes import recipe_names


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("optim.epochs=30", ("optim", "epochs"), 30),
        (" optim.epochs = 30 ", ("optim", "epochs"), 30),
        ("optim.lr=1e-2", ("optim", "lr"), 0.01),
        ("data.modality=bm", ("data", "modality"), "bm"),
        ('data.protocol="xview"', ("data", "protocol"), "xview"),
        ("data.interval=[0.5, 1]", ("data", "interval"), (0.5, 1.0)),
        ("optim.class_weights=true", ("optim", "class_weights"), True),
        ("loss.families.neighbours=4", ("loss", "families", "neighbours"), 4),
        ("loss.families.temperature=0.2", ("loss", "families", "temperature"), 0.2),
        ("loss.terms=ce+inter", ("loss", "terms"), "ce+inter"),
        ("augment.swap_sides=0.5", ("augment", "swap_sides"), 0.5),
    ],
)
def test_settings_change_one_value(setting, path, value):
    config, plain = build_config("default", [setting]), build_config("default")
    found = config
    for name in path:
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)
    dumped, expected = config.model_dump(), plain.model_dump()
    inner = expected
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert dumped == expected, "nothing else changes"


def test_later_settings_and_options_win():
    config = build_config("default", ["seed=1", "optim.epochs=1", "optim.epochs=2"], seed=3)
    assert (config.seed, config.optim.epochs) == (3, 2)
    assert build_config("default", ["seed=1"], seed=None).seed == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.epochs", "write key=value"),
        ("=3", "write key=value"),
        ("optim..epochs=3", "write key=value"),
        ("optim.speed=3", r"there is no optim\.speed.*; known: optim\.name, optim\.epochs"),
        (
            "loss.families.start2=1",
            r"start2 \(did you mean loss\.families\.start\?\); known: ",
        ),
        ("optim.epoch=3", r"there is no optim\.epoch \(did you mean optim\.epochs\?\); known: "),
        ("epochs=3", r"there is no epochs \(did you mean optim\.epochs\?\); known: recipe"),
        ("opitm.epochs=3", r"there is no opitm \(did you mean optim\?\); known: recipe"),
        ("banana=3", "there is no banana; known: recipe, settings, seed, select"),
        ("streams.b.seed=3", "there is no streams; known: recipe"),
        ("settings=theirs", "settings: .*'default' or 'official', not 'theirs'"),
        ("loss.preset=official", r"there is no loss\.preset.*; known: loss\.name, .*loss\.terms"),
        ("loss.terms=inter", r"loss\.terms: .*'ce\+inter', .*not 'inter'"),
        ("loss.weight=-1", r"loss\.weight"),
        ("loss.inter_weight=inf", r"loss\.inter_weight: .*finite"),
        ("optim=3", "optim: .*not 3"),
        ("optim.epochs=0", r"optim\.epochs: .*greater than or equal to 1, not 0"),
        ("optim.lr=fast", r"optim\.lr: .*valid number.*not 'fast'"),
        ("optim.lr=inf", r"optim\.lr: .*finite"),
        ("optim.lr=nan", r"optim\.lr"),
        (
            "model.size=huge",
            r"model\.size: Input should be paper, small, tiny or integer of at least 8 and at most "
            "4096, not 'huge'$",
        ),
        ("model.size=7", r"model\.size: .*or integer of at least 8 and at most 4096, not 7$"),
        ("data.interval=0.7,1", "Input should be list of 2 numbers in brackets, not '0.7,1'$"),
        ("data.interval=[0.9, 0.5]", "data: interval must be 0 < low <= high <= 1"),
        ("optim.warmup_epochs=150", "optim: warmup_epochs=150 must be less than epochs=150"),
        ("optim.accumulate=3", "optim: accumulate=3 must divide batch_size=64"),
        ("augment.mirror=2", r"augment\.mirror"),
        ("loss.families.temperature=warm", r"loss\.families\.temperature"),
        ("recipe=other", "--recipe"),
        ("data.frames=1e9", r"data\.frames: .*less than or equal to 65536, not 1000000000"),
        ("data.clips=1e9", r"data\.clips: .*less than"),
        ("data.per_class=1e9", r"data\.per_class: .*less than"),
        ("optim.batch_size=1e12", r"optim\.batch_size: .*less than or equal to 65536"),
        ("optim.epochs=1e12", r"optim\.epochs: .*less than"),
        (
            "model.size=1e9",
            r"model\.size: .*or integer of at least 8 and at most 4096, not 1000000000.0$",
        ),
        (f"optim.lr=1{'0' * 400}", r"optim\.lr"),
        (f"seed=1{'0' * 5000}", "seed"),
        (f"seed={'[' * 5000}", "--set seed: the value is not TOML"),
        (f"seed={'[' * 30}{']' * 30}", "--set seed: more than 20 nested levels"),
        (f"{'a.' * 3000}b=1", "--set a.*: more than 20 nested levels"),
    ],
)
def test_bad_settings_name_the_key(setting, message):
    with pytest.raises(AclnetError, match=message):
        build_config("default", [setting])


def changed(value):
    """Another value of the same kind; None where it has to be given."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 0.5 if value != 0.5 else 0.25
    if isinstance(value, tuple):
        return (0.25, 0.75)
    return None


OTHERS = {
    ("recipe",): "other",
    ("select",): "val",
    ("model", "name"): "ctrgcn",
    ("model", "size"): "tiny",
    ("model", "feature"): "pooled",
    ("model", "pooling"): "joint",
    ("model", "persons"): "padded",
    ("data", "protocol"): "xview",
    ("data", "modality"): "km",
    ("data", "motion"): "sampled",
    ("data", "short_clips"): "spread",
    ("data", "sampling"): "consecutive",
    ("data", "window"): 3,
    ("data", "cache"): 100,
    ("data", "per_class"): 4,
    ("augment", "parts"): ("hands", "legs"),
    ("optim", "name"): "adamw",
    ("optim", "accumulate"): 2,
    ("optim", "batch_size"): 32,
    ("optim", "precision"): "bf16-mixed",
    ("optim", "matmul"): "tf32",
    ("settings",): "official",
    ("loss", "name"): "mine:loss",
    ("loss", "terms"): "ce",
    ("loss", "inter_weight"): 0.2,
    ("loss", "intra_weight"): 0.0,
    ("loss", "margin_unit"): "cosine",
    ("loss", "same_sequence"): "keep",
    ("loss", "memory_rows"): 8,
    ("loss", "families", "mode"): "official",
    ("loss", "families", "source"): "val",
    ("loss", "families", "confusions"): "probability",
    ("loss", "families", "temperature"): 0.3,
    ("loss", "families", "neighbours"): 3,
    ("loss", "families", "overlap"): 3,
    ("data", "lanes"): 8,
    ("task",): "reid",
    ("retrieval", "embedding"): "both",
    ("retrieval", "metric"): "euclidean",
}


RUNS_GO_ON = [("optim", "recompute"), ("data", "cache")]
"""Settings that change no weight: a run resumes with another value."""


def leaves(model: BaseModel, path: tuple[str, ...] = ()):
    for name, value in model:
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


@pytest.mark.parametrize(
    "path", [path for path, _ in leaves(Config()) if path[-1] != "options"], ids=".".join
)
def test_every_field_is_part_of_the_identity_and_survives_toml(path):
    plain = Config()
    value = OTHERS.get(path, changed(dict(leaves(plain))[path]))
    assert value is not None, "give another value"
    nested = value
    for name in reversed(path):
        nested = {name: nested}
    config = validate(nested, "here")
    assert (config.digest() == plain.digest()) == (path in RUNS_GO_ON)
    again = validate(tomllib.loads(config.to_toml()), "there")
    assert again == config
    assert again.digest() == config.digest()


@pytest.mark.parametrize("section", ["model", "loss"])
def test_options_of_the_users_code_are_part_of_the_identity(section):
    given = [f"{section}.name=mine:build", f"{section}.options.depth=[1, 2]"]
    plain, config = build_config("default", given[:1]), build_config("default", given)
    assert config.digest() != plain.digest()
    assert validate(tomllib.loads(config.to_toml()), "there") == config


NO_MASK = ["augment.limb_mask=0.0", f"augment.parts={[*LIMBS]}"]


@pytest.mark.parametrize(
    ("recipe", "settings", "digest"),
    [
        ("default", NO_MASK, "fe7a8dfe905b7119dd58fcdb269471a2f342545794fca0518b140c86a4e8682b"),
        (
            "demo",
            ["settings=official", "optim.epochs=12", *NO_MASK],
            "83615c79d7f46025ac3efbafd2a32dca56437f5c7582d4e8c731af9c79a01386",
        ),
    ],
)
def test_settings_of_the_first_runs_keep_their_identity(recipe, settings, digest):
    for name in ([], ["model.name=aclnet"]):
        assert build_config(recipe, [*settings, *name]).digest() == digest


@pytest.mark.parametrize(
    ("settings", "width"),
    [
        (["model.name=msg3d"], 96),
        (["model.name=ctrgcn"], 64),
        (["model.name=stgcn", "model.size=small"], 32),
        (["model.name=stgcn", "model.size=24"], 24),
    ],
)
def test_networks_have_presets_of_width(settings, width):
    model = build_config("default", settings).model
    assert (model.base_channels, model.feature) == (width, "pooled")


def test_only_one_network_has_a_topology_to_contrast():
    with pytest.raises(AclnetError, match=r"feature=topology needs name=aclnet.*ctrgcn"):
        build_config("default", ["model.name=ctrgcn", "model.feature=topology"])


OFFICIAL = (
    "model.persons=padded",
    "loss.same_sequence=keep",
    "loss.families.mode=official",
    "loss.families.temperature=steps",
)


@pytest.mark.parametrize("recipe", recipe_names())
def test_official_settings_are_the_default_with_what_the_released_code_does(recipe):
    official = build_config(recipe, ["settings=official"])
    written_out = build_config(recipe, OFFICIAL)
    assert official.digest() == written_out.digest()
    assert official.model_copy(update={"settings": "default"}) == written_out
    assert validate(tomllib.loads(official.to_toml()), "there") == official


def test_what_is_set_beside_official_holds():
    config = build_config(
        "demo",
        [
            *("model.persons=present", "loss.families.temperature=linear", "settings=official"),
            "loss.margin=0.2",
        ],
    )
    assert config.model == ModelConfig(size="tiny", persons="present")
    assert (config.loss.same_sequence, config.loss.margin) == ("keep", 0.2)
    families = config.loss.families
    assert (families.mode, families.temperature) == ("official", "linear")
    assert families.neighbours == 3, "of the recipe"
    assert validate(tomllib.loads(config.to_toml()), "there") == config


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        (["loss.terms=ce"], ["loss.inter_weight=0", "loss.intra_weight=0"]),
        (["loss.terms=ce", "loss.weight=0.5"], ["loss.weight=0"]),
        (["loss.terms=ce+inter"], ["loss.intra_weight=0"]),
        (["loss.terms=ce+intra"], ["loss.inter_weight=0"]),
        (["loss.weight=0.2"], ["loss.inter_weight=0.2", "loss.intra_weight=0.2"]),
        (["loss.inter_weight=0.1"], []),
        (["model.size=96"], ["model.size=paper"]),
    ],
)
def test_the_same_in_other_words_has_the_same_identity(settings, same):
    assert build_config("default", settings).digest() == build_config("default", same).digest()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.lanes=5"], r"data\.lanes=5 must divide optim\.batch_size=64"),
        (["data.lanes=2", "data.per_class=4"], r"use data\.lanes=1, not 2"),
    ],
)
def test_lanes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(AclnetError, match=message):
        build_config("default", settings)


def test_learning_rate():
    optim = build_config(
        "default", ["optim.epochs=10", "optim.warmup_epochs=2", "optim.batch_size=32"]
    ).optim
    assert optim.scaled_lr == 0.05
    assert [optim.lr_at(p) for p in (0, 0.1, 0.2)] == pytest.approx([0, 0.025, 0.05])
    for progress in (0.2, 0.5, 0.6, 0.9, 1):
        wanted = 0.05 * math.cos(math.pi / 2 * (progress - 0.2) / 0.8) ** 2
        assert optim.lr_at(progress) == pytest.approx(wanted, abs=1e-15)
