"""Pictures and labels of EDM's AugmentPipe with chosen parameters: packages/data/test/fixtures/edm-augment.json.

The reference (NVlabs/edm, CC BY-NC-SA) is run, not copied: numbers only. Its draws are replaced by those of each case, so that
every transformation is seen alone and all together. Needs torch and a checkout of the repository.
Run: python tooling/golden/scripts/edm_augment.py <checkout> <its commit> packages/data/test/fixtures/edm-augment.json
"""

import base64
import json
import math
import sys

import numpy as np
import torch

checkout, commit, target = sys.argv[1:]
sys.path.insert(0, checkout)
from training import augment  # noqa: E402

HEIGHT, WIDTH = 12, 10
SETTINGS = dict(p=1, xflip=1e8, yflip=1, scale=1, rotate_frac=1, aniso=1, translate_frac=1)  # as train.py --augment
CASES = {
    "mirror x": dict(x=1),
    "mirror y": dict(y=1),
    "larger": dict(scale=1.1),
    "smaller": dict(scale=-1.3),
    "turned": dict(angle=0.7),
    "stretched": dict(stretch=1.2),
    "stretched along a turned axis": dict(stretch=1.2, axis=math.pi / 4),
    "shifted": dict(shift=[0.6, -0.4]),
    "mirrored and turned": dict(x=1, angle=2.0),
    "turned and stretched": dict(angle=-0.9, stretch=-1.0, axis=0.5),
    "all": dict(x=1, y=1, scale=0.6, angle=-2.3, stretch=0.9, axis=1.1, shift=[-0.5, 0.8]),
}


class Draws:
    """torch, whose random numbers are those of a list."""

    def __init__(self, values):
        self.values = values

    def __getattr__(self, name):
        return getattr(torch, name)

    def rand(self, shape, device=None):
        return torch.tensor(self.values.pop(0), dtype=torch.float32).reshape(shape)

    randn = rand

    def randint(self, _, shape, device=None):
        return torch.tensor(self.values.pop(0)).reshape(shape)


def picture():
    """Waves of which one is short, and a bright point off the middle, in three channels: [1, 3, H, W]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    waves = [0.5 * np.sin(0.5 * x + 0.3 * y), 0.4 * np.cos(1.4 * x - 0.6 * y), -0.3 * np.sin(0.7 * y)]
    point = np.exp(-((x - 7) ** 2 + (y - 3) ** 2) / 1.5)
    return torch.tensor(np.stack([wave + point for wave in waves]), dtype=torch.float32)[None]


def numbers(tensor):
    return base64.b64encode(tensor.contiguous().numpy().astype("<f4").tobytes()).decode()


def uniform(angle):
    return (angle / math.pi + 1) / 2


def run(x=0, y=0, scale=0.0, angle=0.0, stretch=0.0, axis=None, shift=(0.0, 0.0)):
    happens = 0.0
    turned = 1.0 if axis is None else happens
    augment.torch = Draws(
        [
            *(x, happens, y, happens, scale, happens, uniform(angle), happens),
            *(stretch, uniform(axis or 0.0), happens, turned, list(shift), happens),
        ]
    )
    images, labels = augment.AugmentPipe(**SETTINGS)(picture())
    assert augment.torch.values == []
    return images, labels


cases = []
for name, given in CASES.items():
    images, labels = run(**given)
    assert images.shape == (1, 3, HEIGHT, WIDTH), images.shape
    cases.append(
        dict(name=name, **given, labels=[float(v) for v in labels[0]], image=numbers(images[0].permute(1, 2, 0)))
    )
origin = dict(
    repository="NVlabs/edm",
    commit=commit,
    file="training/augment.py, AugmentPipe",
    settings=SETTINGS,
    torch=torch.__version__,
    script="tooling/golden/scripts/edm_augment.py",
    note="numbers only (CC BY-NC-SA); one image a call; pictures are [H, W, C], little-endian float32 in base64",
)
fixture = dict(origin=origin, height=HEIGHT, width=WIDTH, channels=3, image=numbers(picture()[0].permute(1, 2, 0)), cases=cases)
with open(target, "w") as file:
    json.dump(fixture, file, indent=1)
    file.write("\n")
