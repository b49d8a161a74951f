"""Replacement of missing joints.

- `centre`: zero after centring, the place of the body's centre in the first frame.
- `camera`: zero in camera space, as a sensor reports lost joints.
- `feature`: features are cleared after the computation of bones and motions, so that the bones of
  neighbours stay unchanged.
- `hold`: the last position in the clip at which the joint was seen; before that, the first one.
- `interpolate`: linear interpolation between the frames of the clip in which the joint was seen;
  outside of them, the first or the last position.

With `hold` and `interpolate`, a joint that is not seen in the whole clip is at the centre. The
confidence of a missing joint is always 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.pipelines.choices import Missing
    from aclnet.pipelines.inputs.corruptions.corruption import Corruption, Scene


def corrupt(corruption: Corruption, x: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    """Corrupted joints, and the mask of the missing ones.

    Args:
        corruption: the corruption.
        x: (P, N, V, C) joints, left unchanged.
        scene: the batch of the joints.

    Returns:
        (P, N, V, C) joints, and (P, N, V) bool: joints of present persons that the corruption
        removed. With `feature`, their features must still be cleared, see `clear`.

    Raises:
        AclnetError: `camera`, but the position of the camera is not known.
    """
    x = corruption.on_joints(x, scene)
    missing = corruption.hidden(x, scene) & scene.present[..., None]
    missing = missing.expand(x.shape[:-1])
    return (fill(x, missing, corruption.missing, scene) if corruption.hides else x), missing


def fill(x: Tensor, missing: Tensor, meaning: Missing, scene: Scene) -> Tensor:
    """(P, N, V, C) joints in which the `missing` (P, N, V) ones are replaced."""
    if meaning == "feature":
        return x
    coordinates = x.shape[-1] - scene.scored
    if meaning == "centre":
        return x.masked_fill(missing[..., None], 0)
    if meaning == "camera":
        if scene.origin is None:
            raise AclnetError(
                "--missing camera: the position of the camera is not known for sequences without "
                "body size; choose another --missing, for example centre or feature"
            )
        place = scene.origin[:, None, None].expand_as(x[..., :coordinates])
    else:
        place = _from_other_frames(
            x[..., :coordinates], scene.seen(x) & ~missing, scene, linear=meaning == "interpolate"
        )
    filled = torch.where(missing[..., None], place, x[..., :coordinates])
    if not scene.scored:
        return filled
    return torch.cat([filled, x[..., coordinates:].masked_fill(missing[..., None], 0)], -1)


def clear(features: Tensor, missing: Tensor) -> Tensor:
    """(P, N, V, C) features without those of the missing (P, N, V) joints."""
    return features.masked_fill(missing[..., None], 0)


def _from_other_frames(x: Tensor, seen: Tensor, scene: Scene, *, linear: bool) -> Tensor:
    """(P, N, V, C) position of each joint, from frames of its clip that show it (P, N, V).

    A clip may repeat frames and need not be in order, so it is sorted by time first.
    """
    span = scene.frame.max() + 1
    time, order = (scene.clip * span + scene.frame).sort(dim=1, stable=True)
    clip = scene.clip[order]
    seen = seen.gather(1, order[..., None].expand_as(seen))
    place = torch.arange(x.shape[1], device=x.device)[:, None].expand_as(seen)
    before, after = _last_seen(place, seen), _next_seen(place, seen)
    has_before, has_after = (
        found & (_take(clip, index) == clip[..., None])
        for found, index in ((before >= 0, before), (after < x.shape[1], after))
    )
    before = torch.where(has_before, before, after).clamp(0, x.shape[1] - 1)
    after = torch.where(has_after, after, before).clamp(0, x.shape[1] - 1)
    sorted_x = x.gather(1, order[..., None, None].expand_as(x))
    found = _joints(sorted_x, before)
    if linear:
        start, end = _take(time, before), _take(time, after)
        share = (time[..., None] - start) / (end - start).clamp(min=1)
        found = torch.lerp(found, _joints(sorted_x, after), share[..., None].to(x.dtype))
    found = found * (has_before | has_after)[..., None]
    back = order.argsort(dim=1)
    return found.gather(1, back[..., None, None].expand_as(found))


def _last_seen(place: Tensor, seen: Tensor) -> Tensor:
    """(P, N, V) for each place, the last place up to it where the joint is seen; -1 if none."""
    return torch.where(seen, place, -1).cummax(1).values


def _next_seen(place: Tensor, seen: Tensor) -> Tensor:
    """(P, N, V) for each place, the first place from it on where the joint is seen; N if none."""
    return torch.where(seen, place, seen.shape[1]).flip(1).cummin(1).values.flip(1)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """(P, N, V) elements of `values` (P, N) at the places `index` (P, N, V), clamped."""
    index = index.clamp(0, values.shape[1] - 1)
    return values[..., None].expand_as(index).gather(1, index)


def _joints(x: Tensor, index: Tensor) -> Tensor:
    """(P, N, V, C) each joint at the place `index` (P, N, V) of its track."""
    return x.gather(1, index[..., None].expand_as(x))
