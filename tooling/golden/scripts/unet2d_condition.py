"""Tiny conditional UNets of diffusers with one input and output each, for packages/unet/test/fixtures.

Every parameter is drawn anew, so that no zero hides a mistake. Needs torch, diffusers and safetensors.
Run: python tooling/golden/scripts/unet2d_condition.py packages/unet/test/fixtures
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

SMALL = dict(
    in_channels=4,
    out_channels=4,
    block_out_channels=[8, 16],
    layers_per_block=1,
    norm_num_groups=4,
    down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
    cross_attention_dim=12,
    attention_head_dim=2,
)

# What each is for; sizes are [N, C, H, W] of the latent image.
MODELS = {
    # SD 1.x: convolutions around the blocks; sides that 2 does not divide.
    "unet2d-condition-odd": (
        SMALL,
        dict(sample=[2, 4, 7, 5], encoder_hidden_states=[2, 7, 12]),
    ),
    # SD's x4 upscaler: only cross-attention, but for the last level; a table of noise levels; 7 channels.
    "unet2d-condition-upscaler": (
        {
            **SMALL,
            "in_channels": 7,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "block_out_channels": [8, 8, 16],
            "only_cross_attention": [True, True, False],
            "num_class_embeds": 11,
            "use_linear_projection": True,
        },
        dict(sample=[2, 7, 8, 4], encoder_hidden_states=[2, 7, 12], class_labels=[2]),
    ),
    # SD 2.1 unCLIP's vector, LCM's guidance embedding, blocks and heads by level.
    "unet2d-condition-vector": (
        {
            **SMALL,
            "layers_per_block": [1, 2],
            "attention_head_dim": [2, 4],
            "transformer_layers_per_block": [1, 2],
            "use_linear_projection": True,
            "class_embed_type": "projection",
            "projection_class_embeddings_input_dim": 6,
            "time_cond_proj_dim": 10,
            "freq_shift": 1,
            "flip_sin_to_cos": False,
        },
        dict(sample=[2, 4, 8, 4], encoder_hidden_states=[2, 5, 12], class_labels=[2, 6], timestep_cond=[2, 10]),
    ),
    # SDXL: pooled text and six numbers.
    "unet2d-condition-xl": (
        {
            **SMALL,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 3],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 34,
        },
        dict(sample=[2, 4, 4, 8], encoder_hidden_states=[2, 7, 12], text_embeds=[2, 10], time_ids=[2, 6]),
    ),
}


def randomise(model, generator):
    for name, p in model.named_parameters():
        n = torch.randn(p.shape, generator=generator)
        if p.ndim > 1:
            p.data = 0.7 * n / p[0].numel() ** 0.5
        else:
            p.data = 1 + 0.1 * n if "norm" in name and name.endswith("weight") else 0.1 * n


def draw(name, shape, generator):
    if name == "class_labels" and len(shape) == 1:
        return torch.randint(0, 11, shape, generator=generator).int()
    if name == "time_ids":
        return torch.randint(0, 1024, shape, generator=generator).float()
    return torch.randn(shape, generator=generator)


def main(target):
    for seed, (name, (config, inputs)) in enumerate(MODELS.items(), start=1):
        generator = torch.Generator().manual_seed(seed)
        model = UNet2DConditionModel(**config).eval()
        randomise(model, generator)
        tensors = {key: draw(key, shape, generator) for key, shape in inputs.items()}
        tensors["timestep"] = torch.tensor([7, 901], dtype=torch.int32)
        added = {key: tensors[key] for key in ("text_embeds", "time_ids") if key in tensors}
        rest = {key: tensors[key] for key in ("class_labels", "timestep_cond") if key in tensors}
        with torch.no_grad():
            out = model(
                tensors["sample"],
                tensors["timestep"],
                tensors["encoder_hidden_states"],
                added_cond_kwargs=added or None,
                **rest,
            ).sample
        folder = Path(target) / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({**model.config}, indent=1) + "\n")
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
        io = {f"in.{key}": value.contiguous() for key, value in tensors.items()}
        save_file({**io, "out.sample": out.contiguous()}, folder / "io.safetensors")
        origin = {
            "class": "UNet2DConditionModel",
            "origin": f"diffusers {diffusers.__version__}, torch {torch.__version__}",
            "script": "tooling/golden/scripts/unet2d_condition.py",
            "seed": seed,
        }
        (folder / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
        print(name, sum(p.numel() for p in model.parameters()), out.std().item())


if __name__ == "__main__":
    main(sys.argv[1])
