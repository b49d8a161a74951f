"""Description that an exported file carries of its store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from aclnet.datasets.spec import AclnetError, shown
from aclnet.datasets.spec.layouts import registry

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import DatasetSpec
    from aclnet.datasets.store.store import Store

_LONGEST_NAME = 200  # bytes
_NOT_IN_NAMES = frozenset("/\\:\0")
"""Characters that lead out of the folder, or that no name of a file has."""


class Description(BaseModel):
    """What an exported store says of itself, whatever the form."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    dataset: str
    title: str
    layout: str
    """Name of the store's joint layout."""
    file_layout: str
    """Name of the layout of the joints in the file, from which the store's can be made."""
    units: Literal["m", "px"]
    """Of coordinates: metres or pixels."""
    scored: bool
    """Has every joint a confidence?"""
    normalisation: str
    """Recipe that the sequences have been through, see `aclnet.pipelines.steps.normalise`."""
    class_names: tuple[str, ...]

    @classmethod
    def parse(cls, path: Path, values: Any) -> Self:  # noqa: ANN401 - whatever the file holds
        """From a file's plain values; AclnetError that names the file where they are none."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the description"
            raise AclnetError(
                f"{path} does not say which store it is of ({place}: {first['msg']}); "
                "`aclnet export` with this version writes it again"
            ) from None

    def spec(self, asked: DatasetSpec, path: Path) -> DatasetSpec:
        """The dataset asked for, as the store had it; AclnetError where it was another one's."""
        if self.dataset != asked.name:
            raise AclnetError(
                f"{path} is of the dataset {shown(self.dataset)}, not {asked.name}: "
                f"`aclnet prepare {shown(self.dataset)} --raw {path}`"
            )
        return replace(
            asked,
            title=self.title,
            layout=_known(self.layout, path),
            raw_layout=None if self.file_layout == self.layout else _known(self.file_layout, path),
            units=self.units,
            class_names=self.class_names,
        )


def description_of(store: Store, file_layout: str = "") -> Description:
    """What an export of a store says of it; `file_layout` of its joints where it is another."""
    return Description(
        dataset=store.name,
        title=store.attributes.title,
        layout=store.layout.name,
        file_layout=file_layout or store.layout.name,
        units=store.attributes.units,
        scored=store.has_score,
        normalisation=store.attributes.normalisation,
        class_names=tuple(store.class_names),
    )


def _known(layout: str, path: Path) -> str:
    """A layout as `get_layout` takes it: one that is not shipped is a file beside the export."""
    if layout in registry():
        return layout
    size = len(layout.encode(errors="surrogatepass"))
    if not 0 < size <= _LONGEST_NAME or not _NOT_IN_NAMES.isdisjoint(layout):
        raise AclnetError(
            f"{path} has joints of a layout {layout[:40]!r}, which is the name of no file; "
            "`aclnet export` with this version writes it again"
        )
    file = path.parent / f"{layout}.json"
    if not file.is_file():
        raise AclnetError(
            f"{path} has joints of the layout {layout}, which is not known; "
            f"put the file of the layout beside it, as {file}"
        )
    return str(file)
