"""Tiny DiTs of diffusers with one input and output each, for packages/dit/test/fixtures.

Every parameter is drawn anew, so that no zero hides a mistake and the embedders of the blocks differ. Needs torch, diffusers
and safetensors.
Run: python tooling/golden/scripts/dit.py packages/dit/test/fixtures
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import save_file

# What each is for, and the pixels of its input a side.
MODELS = {
    # Three heads, large patches, no learned variance, no biases of q, k and v.
    "dit-diffusers-patch4": (
        dict(num_attention_heads=3, attention_head_dim=8, in_channels=3, num_layers=3, attention_bias=False, sample_size=12, patch_size=4, num_embeds_ada_norm=7),
        12,
    ),
    # Pixels as patches, one block, and an epsilon that shows.
    "dit-diffusers-patch1": (
        dict(num_attention_heads=5, attention_head_dim=4, in_channels=4, out_channels=8, num_layers=1, sample_size=6, patch_size=1, num_embeds_ada_norm=10, norm_eps=0.1),
        6,
    ),
    # An image larger than the positions are for.
    "dit-diffusers-stretched": (
        dict(num_attention_heads=2, attention_head_dim=14, in_channels=4, out_channels=8, num_layers=2, sample_size=8, patch_size=2, num_embeds_ada_norm=10),
        12,
    ),
}


def randomise(model, generator):
    for p in model.parameters():
        n = torch.randn(p.shape, generator=generator)
        p.data = 0.7 * n / p[0].numel() ** 0.5 if p.ndim > 1 else 0.1 * n


def main(target):
    for seed, (name, (config, size)) in enumerate(MODELS.items(), start=1):
        generator = torch.Generator().manual_seed(seed)
        model = DiTTransformer2DModel(**config).eval()
        randomise(model, generator)
        x = torch.randn(2, config["in_channels"], size, size, generator=generator)
        t = torch.tensor([7, 901], dtype=torch.int32)
        labels = torch.tensor([3, config["num_embeds_ada_norm"]], dtype=torch.int32)  # A class, and "no label".
        with torch.no_grad():
            out = model(x, t, labels).sample
        folder = Path(target) / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({**model.config}, indent=1) + "\n")
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
        io = {"in.hidden_states": x, "in.timestep": t, "in.class_labels": labels, "out.sample": out.contiguous()}
        save_file(io, folder / "io.safetensors")
        origin = {
            "class": "DiTTransformer2DModel",
            "origin": f"diffusers {diffusers.__version__}, torch {torch.__version__}",
            "script": "tooling/golden/scripts/dit.py",
            "seed": seed,
        }
        (folder / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
        print(name, sum(p.numel() for p in model.parameters()), out.std().item())


if __name__ == "__main__":
    main(sys.argv[1])
