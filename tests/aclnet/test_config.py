"""Recipes, settings, and the identity of a configuration."""

from __future__ import annotations

import math
import tomllib
from importlib.resources import files

import pytest
from pydantic import BaseModel

from aclnet.config import Config, build_config, default_recipe, load_recipe, validate
from aclnet.datasets.errors import AclnetError

RECIPES = sorted(f.name[:-5] for f in files("aclnet.recipes").iterdir() if f.name.endswith("toml"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_shipped_recipes_load(recipe):
    config = build_config(recipe)
    assert config.recipe == recipe
    shipped = tomllib.loads((files("aclnet.recipes") / f"{recipe}.toml").read_text())
    given = {(s, k): v for s, t in shipped.items() if isinstance(t, dict) for k, v in t.items()}
    for (section, key), value in given.items():
        found = getattr(getattr(config, section), key)
        if not isinstance(value, dict | list):
            assert found == value, f"{section}.{key}"


def test_default_recipe_is_the_method_of_the_paper():
    config = build_config("default")
    assert (config.model.base_channels, config.data.frames, config.data.clips) == (96, 100, 10)
    assert (config.optim.epochs, config.optim.weight_decay, config.optim.momentum) == (
        150,
        5e-4,
        0.9,
    )
    assert config.select == "last"


def test_recipe_of_a_dataset():
    assert default_recipe("demo") == "demo"
    assert default_recipe("a dataset without one") == "default"


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
        ('extends = "child.toml"', "extend one another"),
        ("extends = 3", "extends must be one name or file"),
        ('extends = "nobody"', "unknown recipe 'nobody'; known: .*default"),
        ('extends = "gone.toml"', r"gone\.toml cannot be read"),
        ("epochs : 3", r"child\.toml is not TOML"),
        ("[optim]\nepochs = 'many'", r"child\.toml.*optim\.epochs: .*not 'many'"),
    ],
)
def test_bad_recipes(text, message, tmp_path):
    path = tmp_path / "child.toml"
    path.write_text(text)
    with pytest.raises(AclnetError, match=message):
        build_config(str(path))


def test_a_recipe_that_is_no_text(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AclnetError, match=r"r\.toml is not TOML"):
        load_recipe(str(tmp_path / "r.toml"))


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
        ("optim.speed=3", r"there is no optim\.speed; known: optim\.epochs, optim\.batch_size"),
        ("loss.families.start2=1", r"there is no loss\.families\.start2; .*loss\.families\.start"),
        ("banana=3", "there is no banana; known: recipe, seed, select"),
        ("optim=3", "optim: .*not 3"),
        ("optim.epochs=0", r"optim\.epochs: .*greater than or equal to 1, not 0"),
        ("optim.lr=fast", r"optim\.lr: .*valid number.*not 'fast'"),
        ("optim.lr=inf", r"optim\.lr: .*finite"),
        ("optim.lr=nan", r"optim\.lr"),
        ("model.size=huge", r"model\.size: .*'paper', 'small' or 'tiny', not 'huge'"),
        ("data.interval=[0.9, 0.5]", "data: interval must be 0 < low <= high <= 1"),
        ("optim.warmup_epochs=150", "optim: warmup_epochs=150 must be less than epochs=150"),
        ("optim.accumulate=3", "optim: accumulate=3 parts must divide batch_size=64"),
        ("augment.mirror=2", r"augment\.mirror"),
        ("loss.families.temperature=warm", r"loss\.families\.temperature"),
        ("recipe=other", "--recipe"),
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
    ("model", "size"): "tiny",
    ("model", "feature"): "pooled",
    ("model", "persons"): "padded",
    ("data", "protocol"): "xview",
    ("data", "modality"): "km",
    ("data", "window"): 3,
    ("optim", "accumulate"): 2,
    ("optim", "batch_size"): 32,
    ("optim", "precision"): "bf16-mixed",
    ("loss", "preset"): "official",
    ("loss", "margin_unit"): "cosine",
    ("loss", "same_sequence"): "keep",
    ("loss", "memory_rows"): 8,
    ("loss", "families", "mode"): "official",
    ("loss", "families", "source"): "val",
    ("loss", "families", "temperature"): 0.3,
    ("loss", "families", "neighbours"): 3,
    ("loss", "families", "overlap"): 3,
}


def leaves(model: BaseModel, path: tuple[str, ...] = ()):
    for name, value in model:
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


@pytest.mark.parametrize("path", [path for path, _ in leaves(Config())], ids=".".join)
def test_every_field_is_part_of_the_identity_and_survives_toml(path):
    plain = Config()
    value = OTHERS.get(path, changed(dict(leaves(plain))[path]))
    assert value is not None, "give another value"
    nested = value
    for name in reversed(path):
        nested = {name: nested}
    config = validate(nested, "here")
    assert config.digest() != plain.digest()
    again = validate(tomllib.loads(config.to_toml()), "there")
    assert again == config
    assert again.digest() == config.digest()


def test_learning_rate():
    optim = build_config(
        "default", ["optim.epochs=10", "optim.warmup_epochs=2", "optim.batch_size=32"]
    ).optim
    assert optim.scaled_lr == 0.05
    assert [optim.lr_at(p) for p in (0, 0.1, 0.2)] == pytest.approx([0, 0.025, 0.05])
    for progress in (0.2, 0.5, 0.6, 0.9, 1):
        wanted = 0.05 * math.cos(math.pi / 2 * (progress - 0.2) / 0.8) ** 2
        assert optim.lr_at(progress) == pytest.approx(wanted, abs=1e-15)
