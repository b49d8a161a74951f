"""The card of a run: its purpose, its training and tests, and its limits.

Every figure comes from the run: from its record, or from the scores of its test split.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.runs.known_preparation import preparation_record
from aclnet.runs.scores import Scores
from aclnet.sharing.markdown import front_matter, listed, percent, plain, table
from aclnet.sharing.origin import TASKS, origin, published, tags

if TYPE_CHECKING:
    from aclnet.datasets.spec import DatasetSpec
    from aclnet.runs.run import Run

_PAIRS = 10
_SHARES = {
    "top1": "top-1 accuracy",
    "top1_low": "95 % interval, low",
    "top1_high": "95 % interval, high",
    "top5": "top-5 accuracy",
    "mean_class": "mean class accuracy",
    "chance": "accuracy of guessing",
}
"""Names of figures that are shares, in words."""
_COUNTS = ("samples", "clips", "probes", "gallery", "short")
_SELECTED = {
    "last": "The weights are those of the last epoch.",
    "val": "The weights are the best on samples that were held out of training.",
    "test": "The weights are the best on the test samples, so the results are optimistic.",
}


def model_card(run: Run, license_id: str | None = None) -> str:
    """The card as Markdown, with the Hub's YAML at its head.

    `license_id` is an identifier of the Hub (`mit`); None: unknown. Raises AclnetError if the run
    is not finished.
    """
    result = run.result
    spec = published(run.record.dataset)
    title = spec.title if spec else run.record.dataset
    task = run.config.task
    scores = _test_scores(run)
    parts = [
        front_matter(_head(run, title, license_id)),
        f"# {plain(run.name)}: {TASKS[task]} from skeletons",
        _summary(run, title),
        "## Intended use",
        _use(run),
        "## Training data",
        origin(spec),
        table(["fact", "value"], _data(run)),
        "## Preparation",
        _preparation(run),
        "## Training",
        table(["setting", "value"], _training(run)),
        "All settings are in `config.toml`.",
        "## Results",
        _results(run, result, scores),
        *_by_class(run, scores),
        "## Environment",
        table(["what", "version"], sorted(run.record.environment.items())),
        "## Limits",
        listed(_limits(run, spec, scores)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Run, title: str, license_id: str | None) -> dict[str, Any]:
    head: dict[str, Any] = {
        "library_name": "aclnet",
        "license": license_id or "unknown",
        "tags": tags(run.config.task),
    }
    top1 = run.result.get("top1")
    if top1 is None:
        return head
    name = f"{title}, {run.test_split}"
    entry = {
        "task": {"type": "other", "name": TASKS[run.config.task]},
        "dataset": {"type": run.record.dataset, "name": name},
        "metrics": [{"type": "accuracy", "name": "top-1 accuracy", "value": top1}],
    }
    return head | {"model-index": [{"name": run.name, "results": [entry]}]}


def _summary(run: Run, title: str) -> str:
    layout, model = run.layout, run.config.model
    made = "imported from a checkpoint" if run.imported else "trained by aclnet"
    return (
        f"A network `{plain(model.label)}` of {model.base_channels} channels in its first block, "
        f"{made} for {plain(title)}. It takes sequences of {layout.num_joints} joints (layout "
        f"{plain(layout.name)}, modality {run.config.data.modality}, {run.record.channels} "
        f"channels) and knows {len(run.class_names)} classes."
    )


def _use(run: Run) -> str:
    if run.config.task != "action":
        command = "aclnet identify FOLDER --gallery STORE PROBE"
        what = "Comparison of people in recordings of the same kind as the training data."
    else:
        command = "aclnet predict FOLDER RECORDING"
        what = "Recognition of the run's classes in recordings of the same kind as the training "
        what += "data."
    own = ""
    if run.record.code:
        own = "\n\nThe run needs code that is not part of it: "
        own += f"{plain(', '.join(code.name for code in run.record.code))}."
    return f"{what}{own}\n\n```\n{command}\n```"


def _data(run: Run) -> list[list[object]]:
    record, split = run.record, run.record.split
    facts: dict[str, object] = {
        "dataset": record.dataset,
        "protocol": split.protocol,
        "tested side": run.test_split,
        "tested fold": f"{split.fold[0]} of {split.fold[1]}" if split.fold else None,
        "tested subjects": split.tested,
        "held out for validation": split.held_out,
        "sha256 of split.csv": split.sha256,
        "digest of the store": record.store.digest if record.store else None,
        "started from the weights of": record.init_from,
        "imported file": record.imported.file if record.imported else None,
        "sha256 of the imported file": record.imported.sha256 if record.imported else None,
    }
    return [[name, value] for name, value in facts.items() if value is not None]


def _preparation(run: Run) -> str:
    if run.record.preparation is None and not run.imported:
        return "The run does not record how its store was prepared."
    record = preparation_record(run)
    facts = {
        "cleaning": record.cleaning,
        "normalisation": run.record.normalisation,
        "units": record.units,
        "coordinates": record.coordinates,
        "median frames of a training sequence": record.median_frames,
        "most frames of a training sequence": record.longest_frames,
    }
    given = {**facts, **record.options}
    return table(["option", "value"], [[n, x] for n, x in given.items() if x not in ("", None)])


def _training(run: Run) -> list[list[object]]:
    config = run.config
    if run.imported:
        return [["clips in a test", config.data.clips], ["frames in a clip", config.data.frames]]
    optim, loss = config.optim, config.loss
    return [
        ["recipe", config.recipe],
        ["seed", config.seed],
        ["epochs", optim.epochs],
        ["batch size", optim.batch_size],
        ["optimizer", optim.name],
        ["learning rate (of this batch size)", f"{optim.scaled_lr:g}"],
        ["weight decay", optim.weight_decay],
        ["label smoothing", optim.label_smoothing],
        ["precision", optim.precision],
        ["loss", f"{loss.name}, terms {loss.terms}"],
        ["frames in a clip", config.data.frames],
        ["selection of the weights", config.select],
    ]


def _test_scores(run: Run) -> Scores | None:
    """The scores of the test split, if the run has them and they have its classes."""
    if run.config.task != "action" or not run.test_scores.is_file():
        return None
    return Scores.load(run.test_scores)


def _results(run: Run, result: dict[str, Any], scores: Scores | None) -> str:
    names = [*(name for name in _SHARES if name in result), *sorted(result.keys() - _SHARES.keys())]
    rows = [[_SHARES.get(name, name), _figure(name, result[name])] for name in names]
    rows = [row for row in rows if row[1]]
    if not rows and scores is None:
        return "The run holds no result: it has not been tested."
    parts = []
    if rows:
        head = f"Test on `{plain(run.test_split)}` at the end of the training:"
        if run.imported:
            head = f"Test on `{plain(run.test_split)}`:"
        parts += [head, table(["figure", "value"], rows)]
    if scores is not None and result.get("top1") != scores.top1:
        low, high = scores.interval()
        parts.append(
            f"A later test of `{plain(run.test_split)}` wrote `scores/{run.test_scores.name}`: "
            f"top-1 accuracy {percent(scores.top1)} ({percent(low)} to {percent(high)}) of "
            f"{len(scores)} samples."
        )
    if run.config.task != "action" and run.test_scores.is_file():
        for name, frame in run.load_tables(run.test_scores).items():
            cells = [[_cell(x) for x in row] for row in frame.itertuples(index=False)]
            parts += [f"Table `{plain(name)}`:", table([plain(c) for c in frame], cells)]
    return "\n\n".join(parts)


def _figure(name: str, value: object) -> str:
    """A figure in words; empty if the value is not a figure."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return ""
    return f"{value:,}" if name in _COUNTS or isinstance(value, int) else percent(value)


def _cell(value: object) -> object:
    return ("-" if np.isnan(value) else percent(value)) if isinstance(value, float) else value


def _by_class(run: Run, scores: Scores | None) -> list[str]:
    """The tables of classes and of confused pairs."""
    if scores is None or scores.scores.shape[1] != len(run.score_names):
        return ["### Classes", table(["label", "class"], enumerate(run.class_names))]
    known = scores.per_class(run.score_names)
    known = known[known["samples"] > 0].sort_values("accuracy", kind="stable")
    rows = [[row["class"], row["samples"], percent(row["accuracy"])] for _, row in known.iterrows()]
    parts = ["### Classes, the worst first", table(["class", "samples", "right"], rows)]
    pairs = _confused(scores, run.score_names)
    if pairs:
        parts += [
            "### Most often confused",
            table(["class", "predicted as", "times", "samples of the class"], pairs),
        ]
    return parts


def _confused(scores: Scores, names: list[str]) -> list[list[object]]:
    """Pairs of a class and its wrong prediction, the most frequent first."""
    confusion = scores.confusion()
    sizes = confusion.sum(axis=1)
    np.fill_diagonal(confusion, 0)
    order = np.argsort(-confusion, axis=None, kind="stable")[:_PAIRS]
    pairs = zip(*np.unravel_index(order, confusion.shape), strict=True)
    return [
        [names[of], names[to], int(confusion[of, to]), int(sizes[of])]
        for of, to in pairs
        if confusion[of, to]
    ]


def _limits(run: Run, spec: DatasetSpec | None, scores: Scores | None) -> list[str]:
    title = plain(spec.title if spec else run.record.dataset)
    found = []
    if not run.imported:
        found += [
            f"One training, with seed {run.config.seed}. The card does not tell how much the "
            "results differ between seeds.",
            _SELECTED[run.config.select],
        ]
    if run.result.get("top1") is None and scores is None and run.config.task == "action":
        found.append("The network was not tested.")
    found.append(
        f"Recordings of other sensors, pose estimators, places and people than those of {title} "
        "were not tested."
    )
    if run.config.task == "action":
        found.append(
            "The network answers with one of its classes, also where a recording shows none of "
            "them."
        )
    if scores is not None and scores.scores.shape[1] == len(run.score_names):
        sizes = scores.confusion().sum(axis=1)
        absent = [name for name, size in zip(run.score_names, sizes, strict=True) if not size]
        if absent:
            found.append(f"{len(absent)} classes have no test sample: {plain(', '.join(absent))}.")
    if (run.path / "occlusion" / "outcomes").is_dir():
        found.append("`aclnet occlusion-bench` has tested it with missing joints or frames.")
    else:
        found.append("Skeletons with missing joints or frames were not tested on purpose.")
    found.append(
        "The results do not show whether the network is equally good for all groups of people. "
        "Do not use it for decisions about people without a test of your own."
    )
    return found
