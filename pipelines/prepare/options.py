"""Options of a store; all of them are recorded in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.choices import BodySize, StoredType

if TYPE_CHECKING:
    from pydantic import SerializerFunctionWrapHandler

    from aclnet.datasets.spec import Source


_NEWER = ("max_coordinate", "persons", "fps")
"""Options that older stores do not have; None has the same effect as their absence."""


class PrepareOptions(BaseModel):
    """Options of `aclnet prepare`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: str = ""
    """Name of another joint layout for the store; empty: the dataset's."""
    track: bool = False
    """True to join persons from frame to frame, for sources without `Source.tracked`."""
    persons: int | None = Field(default=None, ge=1)
    """Number of persons to keep per recording, by confidence; None: all that the dataset keeps."""
    fps: float | None = Field(default=None, gt=0, le=10_000)
    """Frames per second that all recordings are converted to; None: unchanged."""
    box_thr: float = Field(default=0.0, ge=0, le=1)
    """Detection score below which persons are left out, if the raw data have scores."""
    valid_ratio: float = Field(default=0.0, ge=0, le=1)
    """Smallest allowed share of a recording's frames with a remaining person."""
    align: bool = False
    """True to turn every sequence so that its first spine points to +z, its shoulders to +x."""
    normalise: BodySize = "default"
    """Removal of body size, by height or by the length of every bone, see
    `aclnet.pipelines.steps.body_size`."""
    dtype: StoredType = "float32"
    """int16 is fixed point (`aclnet.datasets.store.store.encode_int16`), with its scale and its
    largest error in the attributes of `frames/keypoint`."""
    augment: str = ""
    """Operations of the stored variants, in the form of `AugmentSpec.parse`."""
    variants: int = Field(default=0, ge=0)
    """Number of augmented copies of every training sequence."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    """Seed of the order of samples in the store and of the stored augmentation."""
    max_coordinate: float | None = Field(default=None, gt=0, le=1e9)
    """Largest plausible coordinate of raw joints, in metres or pixels; None: the limit of the unit,
    see `aclnet.pipelines.steps.plausible`. Squares of the largest limit are finite in float32."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The options without those that are not set, because plans of older stores lack them."""
        values: dict[str, Any] = dump(self)
        return {k: v for k, v in values.items() if k not in _NEWER or v is not None}

    def resolved(self) -> Self:
        """The options in normal form: a layout's file by its absolute path, augmentation as text
        in fixed order.

        Raises AclnetError if stored augmentation lacks its operations or its number.
        """
        layout = self.layout
        if layout.endswith(".json"):
            layout = str(Path(layout).absolute())  # workers may have another working folder
        augment = self.augment
        if augment:  # torch is imported only if there is one
            from aclnet.pipelines.inputs.augment import AugmentSpec

            spec = AugmentSpec.parse(augment)
            augment = "" if spec == AugmentSpec() else str(spec)
        if bool(augment) != bool(self.variants):
            raise AclnetError(
                "stored augmentation needs --augment with an operation, such as rotate=0.2, and "
                "--variants with the number of variants"
            )
        return self.model_copy(update={"layout": layout, "augment": augment})

    def choose_boxes(self, source: Source) -> Source:
        """The source with the persons and recordings that `box_thr` and `valid_ratio` allow."""
        if not (self.box_thr or self.valid_ratio):
            return source
        return source.with_boxes(self.box_thr, self.valid_ratio)
