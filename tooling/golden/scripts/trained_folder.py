"""Whether diffusers opens what `train` wrote, and predicts the same.

Run: python tooling/golden/scripts/trained_folder.py RUN/diffusers PREDICTION.safetensors

PREDICTION.safetensors is what `pnpm golden:prediction RUN PREDICTION.safetensors` wrote: inputs, and the prediction of RUN/model.
Opens the folder with diffusers' class and compares; exit code 1 when a number differs by more than 1e-5 of the largest.
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import load_file

folder, file = sys.argv[1:]
kind = getattr(diffusers, json.loads((Path(folder) / "config.json").read_text())["_class_name"])
model = kind.from_pretrained(folder, torch_dtype=torch.float32).eval()
given = load_file(file)
labels = {"class_labels": given["in.labels"].long()} if "in.labels" in given else {}
with torch.no_grad():
    theirs = model(given["in.x"], timestep=given["in.time"].long(), **labels).sample
worst = ((theirs - given["out"]).abs().max() / given["out"].abs().max()).item()
print(f"{kind.__name__} of diffusers {diffusers.__version__}: largest difference {worst:.1e} of the largest prediction")
raise SystemExit(0 if worst < 1e-5 else 1)
