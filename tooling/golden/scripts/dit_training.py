"""A checkpoint as the original DiT's training saves it ({"model", "ema", "opt", "args"}), from a tiny model's weights.

The averaged weights are the tiny model's; the trained ones are zeros, so that taking the wrong part shows. Needs torch and safetensors.
Run: python tooling/golden/scripts/dit_training.py packages/dit/test/fixtures/dit-original/model.safetensors tooling/golden/test/fixtures/dit-training.pt
"""

import argparse
import sys

import torch
from safetensors.torch import load_file

source, target = sys.argv[1:]
ema = load_file(source)
model = {name: torch.zeros(1).expand(value.shape) for name, value in ema.items()}
optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=1e-4, weight_decay=0)
args = argparse.Namespace(model="DiT", image_size=64, num_classes=10)
torch.save({"model": model, "ema": ema, "opt": optimizer.state_dict(), "args": args}, target)
