"""Options that several commands share, and the kinds of their values."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from aclnet.cli import completion
from aclnet.cli.results import Form
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.paths import store_path
from aclnet.pipelines.choices import Modality
from aclnet.runs.choices import Embedding, Metric, Select

if TYPE_CHECKING:
    from collections.abc import Callable

    from aclnet.datasets.store.paths import StorePath

PATH = click.Path(path_type=Path)


class StoreType(click.ParamType):  # type: ignore[type-arg]  # older click has no arguments
    """A folder, or an address in an object store."""

    name = "path"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - text, or a default that is a path already
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> StorePath:
        try:
            return store_path(value)
        except AclnetError as error:
            self.fail(str(error), param, ctx)


STORE = StoreType()


class FiniteRange(click.FloatRange):
    """A range of numbers without nan and inf, which click accepts."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - text, or a default that is a number already
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def choice(words: Any) -> click.Choice[str]:  # noqa: ANN401 - a Literal has no type of its own
    """A choice among the words of a Literal."""
    return click.Choice(get_args(words))


class CommaList(click.ParamType):  # type: ignore[type-arg]  # older click has no arguments
    """Values of one kind, as `0,1,2`; each once, unless they may be repeated."""

    def __init__(self, kind: click.ParamType[Any], *, repeated: bool = False) -> None:
        self.kind, self.repeated = kind, repeated
        self.name = f"{kind.name},..."

    def convert(
        self,
        value: Any,  # noqa: ANN401 - text, or a default that is a list already
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> list[Any]:
        if not isinstance(value, str):
            return list(value)
        found = [self.kind.convert(part.strip(), param, ctx) for part in value.split(",")]
        if len(set(found)) < len(found) and not self.repeated:
            self.fail(f"{value!r} contains a value twice", param, ctx)
        return found


MODALITY = choice(Modality)

_JSON = "aclnet.cli.json"


def _remember_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[_JSON] = value


def _form(ctx: click.Context, _: click.Parameter, value: str) -> str:
    return "json" if ctx.meta[_JSON] else value


def output_form(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `--format`, which gives a command its `output`, and the short form `--json`."""
    short = click.option(
        "--json",
        is_flag=True,
        is_eager=True,  # known before `--format` is read
        expose_value=False,
        callback=_remember_json,
        help="Short for --format json.",
    )
    whole = click.option(
        "--format",
        "output",
        type=choice(Form),
        default="table",
        show_default=True,
        callback=_form,
        help="Form of the result on stdout (docs/json.md).",
    )
    return whole(short(command))


accelerator = click.option(
    "--accelerator", default="auto", show_default=True, help="Device to compute on: cpu, cuda, ..."
)
store_argument = click.argument(
    "store", type=STORE, required=False, shell_complete=completion.store
)
stores_argument = click.argument(
    "stores", type=STORE, nargs=-1, metavar="[STORE]...", shell_complete=completion.store
)
run_argument = click.argument("run", type=PATH, required=False, shell_complete=completion.run)
recipe = click.option(
    "--recipe",
    shell_complete=completion.recipe,
    help="Name of a recipe, or a .toml file. [default: the dataset's recipe]",
)
protocol = click.option("--protocol", help="Protocol of the store. [default: the first one]")
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting, for example optim.epochs=30. May be repeated.",
)
select = click.option(
    "--select",
    type=choice(Select),
    help="Weights to keep: the last, or the best on validation or test samples.",
)
trackers = click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.tracker,
    help="Log the training to tensorboard, wandb or mlflow, or to your own tracker as "
    "package.module:function (docs/tracking.md). May be repeated.",
)
split_file = click.option(
    "--split", "split_file", type=PATH, help="CSV file with the columns id and split."
)
license_id = click.option(
    "--license",
    "license_id",
    metavar="ID",
    help="Licence as the Hub identifies it, for example cc-by-4.0. [default: unknown]",
)
NAMED_MODEL = "aclnet.cli.model"
"""Key in a click context of the network that the user names with `own_model`."""


def _remember_model(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    ctx.meta[NAMED_MODEL] = value


own_model = click.option(
    "--model",
    metavar="MODULE:FUNCTION",
    expose_value=False,
    callback=_remember_model,
    help="Network of RUN, if it is your own: code that only a run names is not imported.",
)
"""Read by `aclnet.cli.finding.find_run`."""
embedding = click.option(
    "--embedding",
    type=choice(Embedding),
    help="Embedding that stands for a sequence. [default: the run's]",
)
metric = click.option(
    "--metric", type=choice(Metric), help="Distance between embeddings. [default: the run's]"
)


def scoring(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of commands that score runs: store, split, clips, accelerator and model."""
    for option in (
        own_model,
        accelerator,
        click.option(
            "--clips", type=click.IntRange(1), help="Clips per sequence. [default: the run's]"
        ),
        click.option(
            "--split",
            help="Split to score, for example xsub/test, or val for the samples held out of "
            "training. [default: the run's test split]",
        ),
        click.option(
            "--store",
            type=STORE,
            shell_complete=completion.store,
            help="Another store of the same layout.",
        ),
    ):
        command = option(command)
    return command
