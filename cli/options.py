"""Options that several commands share, and the kinds of their values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from aclnet.models.choices import ModelName
from aclnet.pipelines.choices import Modality
from aclnet.runs.choices import Embedding, Metric, Select

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = click.Path(path_type=Path)


def choice(words: Any) -> click.Choice[str]:  # noqa: ANN401 - a Literal has no type of its own
    """One of the words of a Literal."""
    return click.Choice(get_args(words))


class CommaList(click.ParamType):  # type: ignore[type-arg]  # older click has no arguments
    """Values of one kind, as `0,1,2`, none of them twice."""

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind = kind
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
        if len(set(found)) < len(found):
            self.fail(f"{value!r} names one twice", param, ctx)
        return found


MODALITY = choice(Modality)
MODEL = choice(ModelName)

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
accelerator = click.option(
    "--accelerator", default="auto", show_default=True, help="Device to compute on: cpu, cuda, ..."
)
store_argument = click.argument("store", type=PATH, required=False)
run_argument = click.argument("run", type=PATH, required=False)
recipe = click.option(
    "--recipe", help="Name of a recipe, or a .toml file. [default: the dataset's recipe]"
)
protocol = click.option("--protocol", help="Protocol of the store. [default: its first]")
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
split_file = click.option(
    "--split", "split_file", type=PATH, help="CSV file with the columns id and split."
)
embedding = click.option(
    "--embedding",
    type=choice(Embedding),
    help="Embedding that stands for a sequence. [default: the run's]",
)
metric = click.option(
    "--metric", type=choice(Metric), help="Distance between embeddings. [default: the run's]"
)


def scoring(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `run`, `store`, `split`, `clips` and `accelerator` to a command."""
    for option in (
        accelerator,
        click.option(
            "--clips", type=click.IntRange(1), help="Clips a sequence. [default: the run's]"
        ),
        click.option(
            "--split",
            help="Split to score, for example xsub/test, or val for the samples held out of "
            "training. [default: the run's test split]",
        ),
        click.option("--store", type=PATH, help="Another store of the same layout."),
        run_argument,
    ):
        command = option(command)
    return command
