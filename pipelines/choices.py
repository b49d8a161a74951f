"""Words that settings of data are chosen from.

The module is separate and has no further imports, because the command line reads it at each start.
"""

from __future__ import annotations

from typing import Literal

Modality = Literal["j", "b", "k", "jm", "bm", "km"]
"""Joints, bones and k-bones, and their motions, see `aclnet.pipelines.inputs.features`."""
Missing = Literal["centre", "camera", "feature", "hold", "interpolate"]
"""Meaning of a missing joint, see `aclnet.pipelines.inputs.corruptions.fill`."""
Suite = Literal["quick", "standard", "full"]
"""Lists of protocols of the occlusion bench, see `aclnet.pipelines.inputs.protocols`."""
BodySize = Literal["default", "height", "directions"]
"""Body size that is removed, see `aclnet.pipelines.steps.body_size`."""
StoredType = Literal["float32", "int16"]
"""Number type of stored coordinates."""
