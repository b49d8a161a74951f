"""Words that settings of data are chosen from.

A module of its own without further imports: the command line reads it whenever it starts.
"""

from __future__ import annotations

from typing import Literal

Modality = Literal["j", "b", "k", "jm", "bm", "km"]
"""Joints, bones and k-bones, and their motions, see `aclnet.pipelines.inputs.features`."""
Missing = Literal["centre", "camera", "feature"]
"""Where missing joints are, see `aclnet.pipelines.inputs.occlusion`."""
BodySize = Literal["default", "height", "directions"]
"""What is taken out of the size of bodies, see `aclnet.pipelines.steps.body_size`."""
StoredType = Literal["float32", "int16"]
"""How coordinates are stored."""
