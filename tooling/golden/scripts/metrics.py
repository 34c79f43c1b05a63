# What pytorch-fid, clean-fid, torch-fidelity, torchmetrics and prdc compute from formula-made features.
#
#   python tooling/golden/scripts/metrics.py packages/metrics/test/fixtures/references.json
import importlib.metadata as metadata
import json
import sys
import warnings

import numpy as np
import scipy.linalg
import torch

warnings.simplefilter("ignore")

# pytorch-fid 0.3 and clean-fid 0.1 ask for two results of sqrtm, which scipy 1.17 no longer gives.
sqrtm = scipy.linalg.sqrtm
scipy.linalg.sqrtm = lambda a, disp=True, **kw: sqrtm(a) if disp else (sqrtm(a), 0.0)

from cleanfid.fid import frechet_distance, kernel_distance
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance
from torchmetrics.multimodal import CLIPScore

N, D = 120, 12
i, j = np.mgrid[1 : N + 1, 1 : D + 1].astype(np.float64)
# rounded to float32, which is what every library computes from
X = np.sin(0.37 * i * j + 0.1 * i).astype(np.float32)
Y = (0.8 * np.sin(0.371 * i * j + 0.11 * i) + 0.6 * np.cos(0.91 * i + 0.3 * j * j) + 0.05).astype(np.float32)
out = {"N": N, "D": D}

stats = lambda F: (F.astype(np.float64).mean(0), np.cov(F.astype(np.float64), rowvar=False))
out["pytorch-fid fid"] = float(calculate_frechet_distance(*stats(X), *stats(Y)))
out["clean-fid fid"] = float(frechet_distance(*stats(X), *stats(Y)))
out["clean-fid kid"] = kernel_distance(X.astype(np.float64), Y.astype(np.float64), num_subsets=1, max_subset_size=N)
tx, ty = torch.from_numpy(X), torch.from_numpy(Y)
fid = fid_statistics_to_metric(fid_features_to_statistics(tx), fid_features_to_statistics(ty), verbose=False)
out["torch-fidelity fid"] = fid["frechet_inception_distance"]
kid = kid_features_to_metric(tx, ty, kid_subsets=7, kid_subset_size=50, verbose=False)
out["torch-fidelity kid"] = [kid["kernel_inception_distance_mean"], kid["kernel_inception_distance_std"]]
isc = isc_features_to_metric(3 * tx, splits=5)
out["torch-fidelity is"] = [isc["inception_score_mean"], isc["inception_score_std"]]
# its first argument is the generated set
prc = prc_features_to_metric(ty, tx, prc_neighborhood=3, verbose=False)
out["torch-fidelity prc"] = [prc["precision"], prc["recall"]]
for k in (3, 5):
    scores = compute_prdc(X, Y, nearest_k=k)
    out[f"prdc {k}"] = [float(scores[name]) for name in ("precision", "recall", "density", "coverage")]


class Given(torch.nn.Module):
    """A network whose pictures are features already."""

    num_features = D

    def forward(self, x):
        return x.reshape(len(x), -1).float()


as_pictures = lambda F: torch.from_numpy(F).reshape(N, 3, 2, 2)
metric = FrechetInceptionDistance(feature=Given(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
metric.update(as_pictures(X), real=True)
metric.update(as_pictures(Y), real=False)
out["torchmetrics fid"] = float(metric.compute())
metric = KernelInceptionDistance(feature=Given(), subsets=1, subset_size=N)
metric.update(as_pictures(X), real=True)
metric.update(as_pictures(Y), real=False)
out["torchmetrics kid"] = float(metric.compute()[0])
metric = InceptionScore(feature=Given(), splits=1)
metric.update(as_pictures(3 * X))
out["torchmetrics is"] = float(metric.compute()[0])


class GivenClip(torch.nn.Module):
    """A CLIP whose pictures and texts are embeddings already: texts are numbers of rows."""

    config = None

    def get_image_features(self, x):
        return x.reshape(len(x), -1)

    def get_text_features(self, ids, mask):
        return ty[ids[:, 0]]


def processor(images=None, text=None, **_):
    if images is not None:
        return {"pixel_values": torch.stack(images)}
    ids = torch.tensor([[int(t)] for t in text])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


metric = CLIPScore(model_name_or_path=lambda: (GivenClip(), processor))
metric.update(list(as_pictures(X)), [str(n) for n in range(N)])
out["torchmetrics clip-score"] = float(metric.compute())

# CMMD is in no package: the paper's code in four lines, float64.
unit = lambda F: F.astype(np.float64) / np.linalg.norm(F.astype(np.float64), axis=1, keepdims=True)
kernel = lambda a, b: np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * 10**2)).mean()
a, b = unit(X), unit(Y)
out["numpy cmmd"] = float(1000 * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)))
# Directional similarity as diffusers' documentation on evaluation computes it.
cosine = torch.nn.functional.cosine_similarity
e = lambda F: torch.nn.functional.normalize(torch.from_numpy(F).double(), dim=-1)
Z, W = np.roll(X, 3, axis=0), np.roll(Y, 5, axis=0)
out["torch directional"] = float(cosine(e(Y) - e(X), e(W) - e(Z), dim=-1).mean())
# Nearest neighbours, by the definitions of Yoon 2023 and Alaa 2022, with scipy's distances.
from scipy.spatial.distance import cdist

G = np.concatenate([X[:10] + np.float32(0.01), Y[10:]])
d = cdist(G.astype(np.float64), X.astype(np.float64))
s = np.sort(d, axis=1)
own = cdist(X.astype(np.float64), X.astype(np.float64))
np.fill_diagonal(own, np.inf)
out["scipy memorization"] = [float((s[:, 0] < s[:, 1] / 3).mean()), float((s[:, 0] > own.min(1)[d.argmin(1)]).mean())]
pairs = ((X[:, None].astype(np.float64) - X[None]) ** 2).sum(-1)
out["numpy diversity"] = float(pairs.sum() / (N * (N - 1)))

packages = ["pytorch-fid", "clean-fid", "torch_fidelity", "torchmetrics", "prdc", "scipy", "numpy", "torch"]
with open(sys.argv[1], "w") as f:
    json.dump(
        {
            "origin": "tooling/golden/scripts/metrics.py",
            "made with": {name: metadata.version(name) for name in packages},
            **out,
        },
        f,
        indent=1,
    )
print(json.dumps(out, indent=1))
