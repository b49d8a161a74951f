"""Predicts with numpy and onnxruntime alone: `python examples/onnx_predict.py RUN.onnx JOINTS.npy`.

JOINTS.npy holds (M, T, V, C) joints of M persons, as docs/predict.md (Deploy) says.
"""

import json
import sys

import numpy as np
import onnxruntime


def even_frames(n, length, clips):
    """(clips, length) frames of the test clips of a recording of n frames, for even sampling."""
    place = (2 * np.arange(clips)[:, None] + 1) * n // (2 * clips)
    return (np.arange(length) * n + place) // length


def uniform_frames(n, length, clips, spread):
    """The same for uniform sampling."""
    draws, table = np.random.RandomState(255), []
    for number in range(clips):
        draws.random_sample()
        if n < length:  # in a loop
            evenly = number if n < clips else number * n // clips
            clip = ((evenly if spread else draws.randint(n)) + np.arange(length)) % n
        elif n < 2 * length:  # some frames are skipped
            skipped = np.zeros(length + 1, int)
            skipped[draws.choice(length + 1, n - length, replace=False)] = 1
            clip = np.arange(length) + np.cumsum(skipped)[:length]
        else:  # a frame of each of so many equal parts
            borders = np.arange(length + 1) * n // length
            clip = borders[:-1] + draws.randint(np.diff(borders))
        table.append(clip)
    return np.array(table)


session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
joints = np.nan_to_num(np.load(sys.argv[2]).astype(np.float32))
joints = joints[(joints != 0).any((1, 2, 3))]  # without persons who are in no frame
index = np.arange(joints.shape[1])
if about["centres"] == "true":  # the main person is the first, and is in every frame
    in_frames = (joints != 0).any((2, 3)).sum(1)
    if len(joints) > 1 and in_frames[1] > in_frames[0]:
        joints[:2] = joints[1::-1].copy()
    index = np.flatnonzero((joints[0] != 0).any((1, 2)))
lengths = len(index), int(about["frames"]), int(about["clips"])
if about["sampling"] == "even":
    frames = even_frames(*lengths)
else:
    frames = uniform_frames(*lengths, about["short_clips"] == "spread")
given = {"keypoint": joints[None, :, index], "frame_index": index[None], "frames": frames[None]}
(probability,) = session.run(["probability"], given)[0]
for number in np.argsort(-probability)[:5]:
    print(f"{probability[number]:.6f}", json.loads(about["class_names"])[number])
