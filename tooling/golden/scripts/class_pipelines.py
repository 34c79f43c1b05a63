"""Tiny folders of diffusers with DDPM's UNet and with DiT, and what diffusers' pipelines make of them.

Run: python tooling/golden/scripts/class_pipelines.py packages/pipelines/test/fixtures
Needs torch, diffusers and safetensors; no network. Weights are drawn at random and stored in half precision.
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    UNet2DModel,
)
from safetensors.torch import save_file


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        n = torch.randn(p.shape, generator=generator)
        if p.ndim > 1:
            p.data = 0.7 * n / p[0].numel() ** 0.5
        else:
            p.data = 1 + 0.1 * n if "norm" in name and name.endswith("weight") else 0.1 * n
    return model.half().float().eval()


def seeds(first, count):
    return [torch.Generator().manual_seed(first + i) for i in range(count)]


def save(pipeline, folder):
    pipeline.to(torch.float16).save_pretrained(folder)
    pipeline.to(torch.float32)


out = Path(sys.argv[1])
tensors, cases = {}, {}
unet_settings = dict(
    sample_size=8,
    block_out_channels=(8, 16),
    layers_per_block=1,
    norm_num_groups=4,
    attention_head_dim=8,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)

# Without classes: DDPM's pipeline with DDPM's ancestral steps, and DDIM's.
ddpm = DDPMPipeline(unet=randomise(UNet2DModel(**unet_settings), 1), scheduler=DDPMScheduler())
save(ddpm, out / "tiny-ddpm")
images = ddpm(batch_size=2, generator=seeds(3, 2), num_inference_steps=6, output_type="np").images
tensors["ddpm.images"] = torch.from_numpy(np.ascontiguousarray(images))
cases["ddpm"] = dict(seed=3, count=2, steps=6)
ddim = DDIMPipeline(unet=ddpm.unet, scheduler=DDIMScheduler(beta_schedule="squaredcos_cap_v2"))
save(ddim, out / "tiny-ddim")
images = ddim(batch_size=2, generator=seeds(5, 2), num_inference_steps=5, output_type="np").images
tensors["ddim.images"] = torch.from_numpy(np.ascontiguousarray(images))
cases["ddim"] = dict(seed=5, count=2, steps=5)

# With classes: the loop of DDPMPipeline, and labels, which the pipeline itself does not pass on.
unet = randomise(UNet2DModel(**unet_settings, num_class_embeds=3), 2)
scheduler = DDPMScheduler(variance_type="fixed_large", beta_schedule="linear")
save(DDPMPipeline(unet=unet, scheduler=scheduler), out / "tiny-ddpm-classes")
generators = seeds(11, 2)
x = torch.stack([torch.randn(3, 8, 8, generator=g) for g in generators])
scheduler.set_timesteps(6)
with torch.no_grad():
    for t in scheduler.timesteps:
        e = unet(x, t, class_labels=torch.tensor([2, 0])).sample
        x = scheduler.step(e, t, x, generator=generators).prev_sample
tensors["ddpm-classes.images"] = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).contiguous()
cases["ddpm-classes"] = dict(seed=11, labels=[2, 0], steps=6)

# DiT: embedders of its own in every block, as diffusers' class trains them; learned variance, which the pipeline leaves out.
transformer = DiTTransformer2DModel(
    num_attention_heads=2,
    attention_head_dim=4,
    in_channels=4,
    out_channels=8,
    num_layers=2,
    sample_size=8,
    patch_size=2,
    num_embeds_ada_norm=1000,
)
vae = AutoencoderKL(
    block_out_channels=(4, 4),
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    latent_channels=4,
    layers_per_block=1,
    norm_num_groups=2,
    sample_size=16,
)
dit = DiTPipeline(
    transformer=randomise(transformer, 3),
    vae=randomise(vae, 4),
    scheduler=DDIMScheduler(clip_sample=False),
    id2label={0: "tench, Tinca tinca", 1: "goldfish, Carassius auratus", 207: "golden retriever"},
)
save(dit, out / "tiny-dit")
# The published folders have the names of the classes here.
index = json.loads((out / "tiny-dit/model_index.json").read_text())
index["id2label"] = {"0": "tench, Tinca tinca", "1": "goldfish, Carassius auratus", "207": "golden retriever"}
(out / "tiny-dit/model_index.json").write_text(json.dumps(index, indent=2) + "\n")
latents = []
step = dit.scheduler.step


def watch(*args, **kwargs):
    result = step(*args, **kwargs)
    latents.append(result.prev_sample)
    return result


dit.scheduler.step = watch
for name, scale in (("dit", 4.0), ("dit-plain", 1.0)):
    latents.clear()
    call = dict(class_labels=[207, 1], guidance_scale=scale, num_inference_steps=5)
    images = dit(**call, generator=seeds(21, 2), output_type="np").images
    tensors[f"{name}.images"] = torch.from_numpy(np.ascontiguousarray(images))
    tensors[f"{name}.latents"] = latents[-1][:2].permute(0, 2, 3, 1).contiguous()
    cases[name] = dict(seed=21, labels=[207, 1], steps=5, guidance=scale)

origin = f"tooling/golden/scripts/class_pipelines.py, diffusers {diffusers.__version__}, torch {torch.__version__}"
save_file({k: v.float().contiguous() for k, v in tensors.items()}, out / "class-pipelines.safetensors", {"origin": origin})
(out / "class-pipelines.json").write_text(json.dumps({"origin": origin, "cases": cases}, indent=2) + "\n")
