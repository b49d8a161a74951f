"""Words that settings of data are chosen from.

A module of its own without further imports: the command line reads it whenever it starts.
"""

from __future__ import annotations

from typing import Literal

Modality = Literal["j", "b", "k", "jm", "bm", "km"]
"""Joints, bones and k-bones, and their motions, see `aclnet.pipelines.inputs.features`."""
Missing = Literal["centre", "camera", "feature"]
"""Placement of missing joints, see `aclnet.pipelines.inputs.occlusion`."""
BodySize = Literal["default", "height", "directions"]
"""Body size that is removed, see `aclnet.pipelines.steps.body_size`."""
StoredType = Literal["float32", "int16"]
"""Number type of stored coordinates."""
