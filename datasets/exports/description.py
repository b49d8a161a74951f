"""Description of a store in its exported file."""

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
"""Characters that lead out of the folder, or that file names cannot have."""


class Description(BaseModel):
    """Facts about a store that its export carries, in every form."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    dataset: str
    title: str
    layout: str
    """Name of the store's joint layout."""
    file_layout: str
    """Name of the layout of the joints in the file, from which the store's joints can be made."""
    units: Literal["m", "px"]
    """Units of coordinates: metres or pixels."""
    scored: bool
    """True if every joint has a confidence."""
    normalisation: str
    """Normalisation of the sequences, see `aclnet.pipelines.steps.normalise`."""
    class_names: tuple[str, ...]

    @classmethod
    def parse(cls, path: Path, values: Any) -> Self:  # noqa: ANN401 - whatever the file holds
        """A description from a file's plain values.

        Raises AclnetError that names the file if the values are invalid.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the description"
            raise AclnetError(
                f"{path} does not describe its store correctly ({place}: {first['msg']}); write it "
                "again with `aclnet export` of this version"
            ) from None

    def spec(self, asked: DatasetSpec, path: Path) -> DatasetSpec:
        """The dataset asked for, as the store had it.

        Raises AclnetError if the store has another dataset.
        """
        if self.dataset != asked.name:
            raise AclnetError(
                f"{path} holds the dataset {shown(self.dataset)}, not {asked.name}: `aclnet "
                f"prepare {shown(self.dataset)} --raw {path}`"
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
    """The description of a store's export; file_layout: layout of its joints, if it differs."""
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
    """Name or file of a layout for `get_layout`; a file is beside the export."""
    if layout in registry():
        return layout
    size = len(layout.encode(errors="surrogatepass"))
    if not 0 < size <= _LONGEST_NAME or not _NOT_IN_NAMES.isdisjoint(layout):
        raise AclnetError(
            f"{path} has joints of the layout {layout[:40]!r}, which cannot be the name of a file; "
            "write it again with `aclnet export` of this version"
        )
    file = path.parent / f"{layout}.json"
    if not file.is_file():
        raise AclnetError(
            f"{path} has joints of the unknown layout {layout}; put the file of the layout beside "
            f"it, as {file}"
        )
    return str(file)
