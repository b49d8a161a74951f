"""Recipe files: what they extend, what differs by stream, and those that are shipped."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.pipelines.inputs.features import MODALITIES
from aclnet.runs.config import Config, build_config
from aclnet.runs.recipes import (
    catalogue,
    default_recipe,
    fitting_recipe,
    load_recipe,
    recipe_names,
)

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("recipe", recipe_names())
def test_shipped_recipes_load(recipe):
    config = build_config(recipe)
    assert config.recipe == recipe
    shipped = tomllib.loads((files("aclnet.runs.recipes") / f"{recipe}.toml").read_text())
    sections = {s: t for s, t in shipped.items() if isinstance(t, dict)}
    given = {(s, k): v for s, t in sections.items() for k, v in t.items()}
    for (section, key), value in given.items():
        if section not in ("about", "streams") and not isinstance(value, dict | list):
            assert getattr(getattr(config, section), key) == value, f"{section}.{key}"


# The released code's settings, by recipe: frames of a clip, batch and its learning rate, rows of
# the memory. On one GPU: 0.025 for a batch of 16 is 0.1 for one of 64.
HYPER = {
    "ntu60-xsub": (100, 16, 0.025, 512),
    "ntu60-xview": (100, 16, 0.025, 512),
    "ntu120-xsub": (100, 16, 0.025, 1024),
    "ntu120-xset": (100, 16, 0.025, 1024),
    "pkummd-xsub": (50, 16, 0.025, 512),
    "pkummd-xview": (50, 16, 0.025, 512),
    "kinetics": (100, 64, 0.1, 2048),
    "finegym": (100, 16, 0.025, 1024),
}
TWO_D = ("kinetics", "finegym")
# In which streams sides are exchanged (Spatial_Flip, half of the time), and in which a limb is
# left out (Part_Drop, a fifth of the time).
FLIPPED = {
    "ntu60-xsub": "b k bm km",
    "ntu120-xsub": "j b jm bm",
    "ntu120-xset": "b k bm km",
}
DROPPED = {
    "ntu60-xview": "k km",
    "ntu120-xsub": "k km",
    "pkummd-xsub": "j b k jm bm km",
    "pkummd-xview": "j b k jm bm km",
}
# Top-1 of the joint stream, and of joint and bone together.
PUBLISHED = {
    "ntu60-xsub": (91.44, 93.07),
    "ntu60-xview": (96.38, 97.26),
    "ntu120-xsub": (85.39, 89.62),
    "ntu120-xset": (88.33, 91.38),
    "pkummd-xsub": (96.04, 96.71),
    "pkummd-xview": (98.25, 98.47),
    "kinetics": (48.37, 50.35),
    "finegym": (93.31, 95.48),
}


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("recipe", HYPER)
def test_official_recipes_are_as_the_released_configurations(recipe, modality):
    config = build_config(recipe, [f"data.modality={modality}"])
    optim, data, loss = config.optim, config.data, config.loss
    assert data.modality == modality
    rate = pytest.approx(optim.scaled_lr)
    assert (data.frames, optim.batch_size, rate, loss.memory_rows) == HYPER[recipe]
    assert (optim.epochs, optim.warmup_epochs, optim.momentum) == (150, 0, 0.9)
    assert (optim.weight_decay, optim.label_smoothing) == (5e-4, 0)
    assert (config.model.base_channels, data.clips, data.interval) == (96, 10, (1, 1))
    assert (loss.lambda_inter, loss.lambda_intra) == (0.1, 0.1)
    assert loss.families.start_epoch(optim.epochs) == 30
    if recipe in TWO_D:
        assert (data.motion, data.short_clips) == ("sampled", "spread")
        assert config.augment == AugmentSpec(mirror=0.5)
    else:
        assert (data.motion, data.short_clips) == ("next", "random")
        flipped = modality in FLIPPED.get(recipe, "").split()
        dropped = modality in DROPPED.get(recipe, "").split()
        spec = AugmentSpec(rotate=0.2, swap_sides=0.5 * flipped, limb_mask=0.2 * dropped)
        assert config.augment == spec


# Top-1 of PYSKL's joint streams, ten clips, X-Sub: joints in space (Kinect), and of images (HRNet).
ZOO = {
    "stgcn": {"60 3-D": 87.8, "60 2-D": 89.0, "120 3-D": 82.1, "120 2-D": 80.1},
    "stgcnpp": {"60 3-D": 89.3, "60 2-D": 89.3, "120 3-D": 83.2, "120 2-D": 84.4},
    "aagcn": {"60 3-D": 89.0, "60 2-D": 89.7, "120 3-D": 82.8, "120 2-D": 80.2},
    "ctrgcn": {"60 3-D": 89.6, "60 2-D": 90.6, "120 3-D": 84.0, "120 2-D": 82.2},
    "msg3d": {"60 3-D": 89.6, "60 2-D": 92.7, "120 3-D": 84.0, "120 2-D": 85.5},
}


@pytest.mark.parametrize("recipe", ZOO)
def test_recipes_of_networks_are_as_pyskl_trains_them(recipe):
    config = build_config(recipe, ["data.modality=bm"])
    model, data, optim = config.model, config.data, config.optim
    assert (model.name, model.size, model.persons) == (recipe, "paper", "padded")
    assert (data.frames, data.clips, data.interval) == (100, 10, (1, 1))
    assert (data.motion, data.short_clips, data.image_scale) == ("next", "spread", True)
    assert (optim.epochs, optim.batch_size, optim.scaled_lr) == (80, 128, 0.1)
    assert (optim.momentum, optim.weight_decay, optim.warmup_epochs) == (0.9, 5e-4, 0)
    assert (optim.label_smoothing, optim.precision) == (0, "32-true")
    assert config.augment == AugmentSpec()
    assert (config.loss.lambda_inter, config.loss.lambda_intra) == (0, 0)
    assert fitting_recipe(recipe, 2) == recipe


def test_catalogue():
    found = {about.name: about for about in catalogue()}
    ours = {"casia-b", "reid", "small"}
    assert set(found) == HYPER.keys() | ZOO.keys() | ours
    for name, (joint, both) in PUBLISHED.items():
        assert found[name].published == {"joint": joint, "J+B": both}
    for name, published in ZOO.items():
        assert found[name].published == published
    for name, about in found.items():
        kind = "pyskl" if name in ZOO else "official"
        assert about.whose == ("ours" if name in ours else kind)
        assert bool(about.published) == bool(about.source), "a figure has a source"
    records = {name: about.record for name, about in found.items() if about.record}
    assert records == {"small": "docs/small-sets.md"}
    assert (ROOT / records["small"]).is_file()


@pytest.mark.parametrize(
    ("dataset", "protocol", "recipe"),
    [
        ("ntu60", "xsub", "ntu60-xsub"),
        ("ntu60", "xview", "ntu60-xview"),
        ("ntu120", "xset", "ntu120-xset"),
        ("ntu120", "ntu60-xview", "ntu60-xview"),
        ("pkummd", "xview", "pkummd-xview"),
        ("kinetics", "any", "kinetics"),
        ("casia-b", "gait", "casia-b"),
        ("casia-b-3d", "n-n", "casia-b-3d"),
        ("biwi", "walking", "biwi"),
        ("ias-lab", "a", "ias-lab"),
        ("kgbd", "drawn", "kgbd"),
        ("ks20", "drawn", "ks20"),
        ("ntu60", "mine", "default"),
        ("a dataset without one", "xsub", "default"),
    ],
)
def test_recipe_of_a_protocol(dataset, protocol, recipe):
    assert default_recipe(dataset, protocol) == recipe


def test_recipe_of_pixels_without_a_recipe_of_their_own():
    assert default_recipe("custom", "own", 2) == "default-2d"
    assert default_recipe("casia-b", "gait", 2) == "casia-b"
    assert default_recipe("ntu60", "xsub", 2) == "default-2d", "ntu60_hrnet.pkl has pixels"
    assert default_recipe("finegym", "own", 2) == "finegym"


@pytest.mark.parametrize("recipe", ["default", "demo"])
def test_recipes_for_pixels_change_nothing_that_only_joints_in_space_have(recipe):
    fitting = fitting_recipe(recipe, 2)
    assert fitting == f"{recipe}-2d"
    plain, config = build_config(recipe), build_config(fitting)
    spec = config.augment
    assert (spec.rotate, spec.scale, spec.jitter) == (0, 0, 0)
    assert plain.augment.rotate > 0
    assert (config.model, config.optim, config.loss) == (plain.model, plain.optim, plain.loss)
    assert fitting_recipe(recipe, 3) == recipe
    assert fitting_recipe(f"{recipe}.toml", 2) == f"{recipe}.toml", "a file of one's own"


def test_the_demo_takes_the_first_protocol_of_any_store():
    assert build_config("demo").data.protocol == build_config("demo-2d").data.protocol == ""


STREAMS = """
[data]
modality = "b"
[augment]
rotate = 0.3
[streams.b]
seed = 4
augment.swap_sides = 0.5
[streams.bm.augment]
rotate = 0.1
"""


@pytest.fixture
def with_streams(tmp_path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(STREAMS)
    return str(path)


@pytest.mark.parametrize(
    ("settings", "seed", "augment"),
    [
        ([], 4, {"rotate": 0.3, "swap_sides": 0.5}),
        (["data.modality=j"], 0, {"rotate": 0.3}),
        (["data.modality=bm"], 0, {"rotate": 0.1}),
        (["data.modality=bm", "augment.rotate=0.2"], 0, {"rotate": 0.2}),
        (["augment.swap_sides=0", "seed=9"], 9, {"rotate": 0.3}),
    ],
)
def test_a_stream_differs_and_settings_win(settings, seed, augment, with_streams):
    config = build_config(with_streams, settings)
    assert config.seed == seed
    assert config.augment == AugmentSpec(**augment)
    assert "streams" not in config.to_toml()


def test_options_win_over_a_stream(with_streams):
    assert build_config(with_streams, seed=7).seed == 7


def test_streams_are_extended_too(with_streams, tmp_path):
    child = tmp_path / "child.toml"
    child.write_text('extends = "mine.toml"\n[streams.b]\naugment.limb_mask = 0.2\n')
    config = build_config(str(child))
    assert config.augment == AugmentSpec(rotate=0.3, swap_sides=0.5, limb_mask=0.2)
    child.write_text('extends = "mine.toml"\n[data]\nmodality = "bm"\n')
    assert build_config(str(child)).augment == AugmentSpec(rotate=0.1)


def test_values_of_a_recipe_win_over_those_it_extends(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.toml").write_text("[optim]\nepochs = 7\nlr = 0.3\n[data]\nclips = 2\n")
    child = tmp_path / "sub" / "child.v2.toml"
    child.write_text('extends = "../base.toml"\n[optim]\nlr = 0.4\n')
    config = build_config(str(child))
    assert (config.optim.epochs, config.optim.lr, config.data.clips) == (7, 0.4, 2)
    assert config.recipe == "child.v2"
    child.write_text('extends = "demo"\n')
    assert build_config(str(child)).model == build_config("demo").model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "child.toml"', "extend each other"),
        (f"seed = {'[' * 5000}", r"child\.toml is not TOML"),
        (f"[{'a.' * 3000}b]", "more than 20 nested levels"),
        (f"streams.j{'.a' * 3000} = 1", "more than 20 nested levels"),
        ("extends = 3", "extends must be one name or file"),
        ('extends = "nobody"', "unknown recipe 'nobody'; known: .*default"),
        ('extends = "gone.toml"', r"gone\.toml cannot be read"),
        ("epochs : 3", r"child\.toml is not TOML"),
        ("[optim]\nepochs = 'many'", r"child\.toml.*optim\.epochs: .*not 'many'"),
        ("streams = 3", r"child\.toml: streams holds tables .*called j, b, k, jm, bm, km, not 3"),
        ("[streams.x]\nseed = 3", r"child\.toml: streams holds tables .*'x'"),
        ("[streams]\nk = 3", r"child\.toml: streams holds tables .*'k': 3"),
        # of a stream that is not trained here
        ("[streams.k.optim]\nspeed = 3", r"streams\.k: there is no optim\.speed .*; known: "),
        ("[streams.k.optim]\nepochs = 0", r"streams\.k: optim\.epochs: "),
        (
            '[streams.k.data]\nmodality = "b"',
            r"streams\.k cannot change the recipe or the modality",
        ),
        ('[streams.k]\nrecipe = "b"', r"streams\.k cannot change the recipe or the modality"),
    ],
)
def test_bad_recipes(text, message, tmp_path):
    path = tmp_path / "child.toml"
    path.write_text(text)
    with pytest.raises(AclnetError, match=message):
        build_config(str(path))


def test_a_recipe_that_extends_itself_by_a_longer_way(tmp_path):
    path = tmp_path / "child.toml"
    path.write_text(f'extends = "../{tmp_path.name}/child.toml"')
    with pytest.raises(AclnetError, match="extend each other"):
        load_recipe(str(path))


scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=3)
    | st.sampled_from(["child.toml", "demo", "official"])
)
sections = Config().model_dump()
keys = st.sampled_from([*sections, "extends", "about", "streams", "a", *MODALITIES])
inner_keys = st.sampled_from([k for v in sections.values() if isinstance(v, dict) for k in v])
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | inner_keys, inner),
    max_leaves=9,
)


@pytest.mark.slow
@given(st.dictionaries(keys, plain | st.dictionaries(inner_keys, plain)))
def test_any_toml_is_a_recipe_or_refused(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "child.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    with suppress(AclnetError):
        assert isinstance(build_config(str(path)), Config)


@given(st.binary(max_size=99) | st.text("=[]{}.\"'\n a1", max_size=99).map(str.encode))
def test_any_bytes_are_a_recipe_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(content)
    with suppress(AclnetError):
        assert isinstance(build_config(str(path)), Config)


@given(st.text("=[]{}.\"'\n a1", max_size=40) | st.text(max_size=20))
def test_any_setting_is_one_or_refused(setting):
    with suppress(AclnetError):
        assert isinstance(build_config("demo", [setting, f"seed={setting}"]), Config)


def test_a_recipe_that_is_no_text(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AclnetError, match=r"r\.toml is not TOML"):
        load_recipe(str(tmp_path / "r.toml"))
