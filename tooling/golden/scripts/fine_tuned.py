"""Whether diffusers applies what `train` made of a Stable Diffusion folder, to the same picture.

Run: python tooling/golden/scripts/fine_tuned.py MODEL PICTURE.png "PROMPT" [--lora FILE] [--embedding FILE] [--size N] [--steps N] [--guidance G]

PICTURE.png is what `pnpm sample --model MODEL --lora ... --prompt PROMPT --seed 0 --prompt-syntax plain` made of the same settings.
Makes the same picture with diffusers' own loaders (load_lora_weights, load_textual_inversion) and says how far the two are apart.
Needs torch, diffusers, transformers and peft.
"""

import argparse

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("picture")
parser.add_argument("prompt")
parser.add_argument("--lora")
parser.add_argument("--embedding")
parser.add_argument("--token")
parser.add_argument("--size", type=int, default=None)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--guidance", type=float, default=7.5)
given = parser.parse_args()

torch.set_num_threads(1)
pipeline = StableDiffusionPipeline.from_pretrained(given.model, safety_checker=None, torch_dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)


def picture():
    options = dict(height=given.size, width=given.size, num_inference_steps=given.steps, guidance_scale=given.guidance)
    made = pipeline(given.prompt, generator=torch.Generator().manual_seed(0), output_type="np", **options)
    return made.images[0]


plain = picture() if given.embedding is None else None
if given.lora:
    pipeline.load_lora_weights(given.lora)
if given.embedding:
    pipeline.load_textual_inversion(given.embedding, token=given.token)
theirs = picture()
ours = np.asarray(Image.open(given.picture).convert("RGB")).astype(np.float32) / 255
assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
worst = np.abs(ours - theirs).max()
print(f"largest difference to diffusers' picture: {255 * worst:.2f} of 255 (half a step is rounding)")
if plain is not None:
    print(f"largest change by the LoRA: {255 * np.abs(plain - theirs).max():.2f} of 255")
raise SystemExit(0 if worst < 1.5 / 255 else 1)
