"""A U-ViT as the original saves it: a state dict in a `.pth` (torch.save), from a tiny model's weights. Needs torch and safetensors.
Run: python tooling/golden/scripts/uvit_pth.py packages/uvit/test/fixtures/uvit-uncond/model.safetensors tooling/golden/test/fixtures/uvit-uncond.pth
"""

import sys

import torch
from safetensors.torch import load_file

source, target = sys.argv[1:]
torch.save(load_file(source), target)
