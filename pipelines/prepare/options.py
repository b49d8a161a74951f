"""Options of a store; all of them are recorded in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_serializer

from aclnet.pipelines.choices import BodySize, StoredType

if TYPE_CHECKING:
    from pydantic import SerializerFunctionWrapHandler

    from aclnet.datasets.spec import Source


_NEWER = ("max_coordinate", "persons", "fps")
"""Options that older stores do not have; None is as if they were not there."""


class PrepareOptions(BaseModel):
    """Options of `aclnet prepare`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: str = ""
    """Another joint layout for the store, by name; empty: the dataset's."""
    track: bool = False
    """Join the persons of a source that does not (`Source.tracked`) from frame to frame."""
    persons: int | None = Field(default=None, ge=1)
    """Number of persons to keep per recording, by confidence; None: all that the dataset keeps."""
    fps: float | None = Field(default=None, gt=0, le=10_000)
    """Frames a second that all recordings are brought to; None: frames as they are."""
    box_thr: float = Field(default=0.0, ge=0, le=1)
    """Persons whose detection has a lower score are left out, where raw data tell scores."""
    valid_ratio: float = Field(default=0.0, ge=0, le=1)
    """So much of a recording's frames must have a person left, or it is rejected."""
    align: bool = False
    """Turn every sequence so that its first spine points to +z and its shoulders to +x."""
    normalise: BodySize = "default"
    """Take the size of bodies out, by their height or by the length of every bone, see
    `aclnet.pipelines.steps.body_size`."""
    dtype: StoredType = "float32"
    """int16 is fixed point (`aclnet.datasets.store.store.encode_int16`), with its scale and its
    largest error in the attributes of `frames/keypoint`."""
    augment: str = ""
    """Operations of the stored variants, as `AugmentSpec.parse` takes them."""
    variants: int = Field(default=0, ge=0)
    """Augmented copies of every training sequence."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    """Seed of the order of samples in the store and of the stored augmentation."""
    max_coordinate: float | None = Field(default=None, gt=0, le=1e9)
    """Largest plausible coordinate of raw joints, in metres or pixels; None: the limit of the unit,
    see `aclnet.pipelines.steps.plausible`. Squares of the largest limit are finite in float32."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what was not given: plans of older stores do not have these options."""
        values: dict[str, Any] = dump(self)
        return {k: v for k, v in values.items() if k not in _NEWER or v is not None}

    def choose_boxes(self, source: Source) -> Source:
        """The source with what `box_thr` and `valid_ratio` leave of it."""
        if not (self.box_thr or self.valid_ratio):
            return source
        return source.with_boxes(self.box_thr, self.valid_ratio)
