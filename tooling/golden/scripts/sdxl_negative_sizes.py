"""SDXL told other sizes for the negative prompt, by diffusers' pipelines on the tiny folder of the sample app.

Run: python tooling/golden/scripts/sdxl_negative_sizes.py apps/sample/test/fixtures/tiny-sdxl packages/pipelines/test/fixtures
Needs torch, diffusers and transformers; no network.
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file

torch.set_num_threads(1)
PICTURE = (255 * torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))).round() / 255
SIZES = dict(negative_original_size=(64, 48), negative_crops_coords_top_left=(3, 5), negative_target_size=(20, 30))


def run(tensors, cases, name, kind, folder, seed, note="", **call):
    pipe = kind.from_pretrained(folder, torch_dtype=torch.float32, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    steps = []

    def keep(pipe, i, t, kwargs):
        steps.append(kwargs["latents"].clone())
        return {}

    out = pipe(**call, generator=torch.Generator().manual_seed(seed), output_type="np", callback_on_step_end=keep)
    tensors[f"{name}.latents"] = torch.stack(steps).float()
    tensors[f"{name}.images"] = torch.from_numpy(out.images.copy()).float()
    call.pop("image", None)
    cases[name] = {"seed": seed, "note": note, "scheduler": {}, **call}


def main(folder, target):
    tensors, cases = {"picture": PICTURE}, {}
    words = dict(prompt="a red cat", negative_prompt="blue", num_inference_steps=3, guidance_scale=5.0)
    crop = dict(original_size=(40, 32), crops_coords_top_left=(1, 2))
    run(tensors, cases, "text", StableDiffusionXLPipeline, folder, 81, **words, **crop, **SIZES, height=16, width=16)
    # The base in this pipeline takes the crop of the positive prompt for the negative one too.
    image = dict(image=PICTURE, strength=0.7)
    run(tensors, cases, "img2img", StableDiffusionXLImg2ImgPipeline, folder, 82, "the positive crop holds", **words, **crop, **SIZES, **image)
    origin = {"origin": f"diffusers {diffusers.__version__}, torch {torch.__version__}", "script": "tooling/golden/scripts/sdxl_negative_sizes.py"}
    save_file(tensors, Path(target) / "sdxl-negative-sizes.safetensors")
    (Path(target) / "sdxl-negative-sizes.json").write_text(json.dumps({**origin, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
