"""Tiny Stable Diffusion and SDXL folders in the hub's layout, and what diffusers' pipelines make of them.

Run: python tooling/golden/scripts/stable_diffusion.py apps/sample/test/fixtures
Needs torch, diffusers, transformers, safetensors and scipy; no network. Weights are drawn at random and stored in half precision.
"""

import json
import shutil
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UniPCMultistepScheduler,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CHAIN = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, num_train_timesteps=1000)
DDIM = dict(**CHAIN, clip_sample=False, set_alpha_to_one=False)
WORDS = ["cat", "dog", "red", "blue", "photo", "of", "on", "the"]


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        n = torch.randn(p.shape, generator=generator)
        if p.ndim > 1 and "embedding.weight" in name:
            p.data = 0.5 * n
        elif p.ndim > 1:
            p.data = 0.7 * n / p[0].numel() ** 0.5
        else:
            p.data = 1 + 0.1 * n if "norm" in name and name.endswith("weight") else 0.1 * n
    return model.half().float().eval()


def vocabulary():
    """Numbered as in CLIP's vocab.json: bytes, bytes at the end of a word, merges, start, end."""
    letters = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    letters += [chr(256 + i) for i in range(256 - len(letters))]
    merges = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            pair = (pieces[0], pieces[1])
            if pair not in merges:
                merges.append(pair)
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    names = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {piece: i for i, piece in enumerate(dict.fromkeys(names))}, merges


VOCAB, MERGES = vocabulary()
END = VOCAB["<|endoftext|>"]


def tokenizer(pad="<|endoftext|>"):
    return CLIPTokenizer(vocab=VOCAB, merges=MERGES, pad_token=pad, model_max_length=77)


def save_tokenizer(folder, pad="<|endoftext|>"):
    """The four files of the hub's folders."""
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(VOCAB, ensure_ascii=False, separators=(",", ":")))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(f"{a} {b}" for a, b in MERGES) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": pad, "unk_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special) + "\n")
    config = {**special, "add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")


def text_config(width, activation, projection=8):
    return CLIPTextConfig(
        vocab_size=len(VOCAB), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=77, hidden_act=activation, bos_token_id=END - 1, eos_token_id=END, pad_token_id=END, projection_dim=projection,
    )  # fmt: skip


def unet(seed, **changes):
    config = dict(
        in_channels=4, out_channels=4, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4, sample_size=8,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        cross_attention_dim=12, attention_head_dim=2,
    )  # fmt: skip
    return randomise(UNet2DConditionModel(**{**config, **changes}), seed)


def vae(seed, scale):
    return randomise(
        AutoencoderKL(
            block_out_channels=[8, 16], latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=16, scaling_factor=scale,
            down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        seed,
    )  # fmt: skip


def save_folder(path, class_name, parts, scheduler, tokenizers, **settings):
    """The parts in the hub's layout; weights in half precision, which the parts hold exactly."""
    shutil.rmtree(path, ignore_errors=True)
    index = {"_class_name": class_name, "_diffusers_version": diffusers.__version__, **settings}
    for name, model in parts.items():
        if model is None:
            index[name] = [None, None]
            continue
        model.half().save_pretrained(path / name)
        model.float()
        index[name] = [type(model).__module__.split(".")[0], type(model).__name__]
    scheduler.save_pretrained(path / "scheduler")
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    for name, pad in tokenizers.items():
        save_tokenizer(path / name, pad)
        index[name] = ["transformers", "CLIPTokenizer"]
    (path / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


class Cases:
    """Runs a pipeline, keeps the latent image after each step and the picture."""

    def __init__(self):
        self.tensors = {}
        self.calls = {}

    def run(self, name, pipe, seed, note=None, **call):
        steps = []

        def keep(_pipe, _i, _t, kwargs):
            steps.append(kwargs["latents"].clone())
            return kwargs

        pipe.set_progress_bar_config(disable=True)
        out = pipe(**call, generator=torch.Generator().manual_seed(seed), output_type="np", callback_on_step_end=keep)
        self.tensors[f"{name}.latents"] = torch.stack(steps).float()
        self.tensors[f"{name}.images"] = torch.from_numpy(np.ascontiguousarray(out.images)).float()
        plain = {k: v for k, v in call.items() if isinstance(v, (str, int, float, list))}
        scheduler = {k: v for k, v in pipe.scheduler.config.items() if not k.startswith("_") and v != float("-inf")}
        self.calls[name] = {"seed": seed, "scheduler": {"_class_name": type(pipe.scheduler).__name__, **scheduler}, **plain}
        if note:
            self.calls[name]["note"] = note

    def keep_last(self, but=()):
        """Of the latent images after each step keeps the last one only, but in these cases."""
        for key, value in self.tensors.items():
            if key.endswith(".latents") and key.removesuffix(".latents") not in but:
                self.tensors[key] = value[-1:]

    def write(self, target, name, script, layout, *more):
        """Writes the tensors, and as JSON where they come from and the calls; `more` are libraries that had a part."""
        save_file({key: value.contiguous() for key, value in self.tensors.items()}, target / f"{name}.safetensors")
        versions = ", ".join(f"{library.__name__} {library.__version__}" for library in (diffusers, transformers, *more, torch))
        origin = {
            "origin": f"pipelines of {versions}",
            "script": f"tooling/golden/scripts/{script}",
            "layout": layout,
            "cases": self.calls,
        }
        (target / f"{name}.json").write_text(json.dumps(origin, indent=1, default=str) + "\n")
        for key, value in self.tensors.items():
            print(key, list(value.shape), f"{value.std().item():.3f}")


def main(target):
    target = Path(target)
    cases = Cases()
    picture = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(99)).mul(255).round() / 255  # as in a PNG
    mask = torch.zeros(1, 1, 16, 24)
    mask[:, :, 4:12, 8:20] = 1

    # Stable Diffusion 1.
    text = randomise(CLIPTextModel(text_config(12, "quick_gelu")), 1)
    parts = dict(unet=unet(2), vae=vae(3, 0.18215), text_encoder=text)
    scheduler = PNDMScheduler(**CHAIN, skip_prk_steps=True, set_alpha_to_one=False)
    off = dict(safety_checker=None, feature_extractor=None)
    save_folder(target / "tiny-sd", "StableDiffusionPipeline", {**parts, **off}, scheduler, {"tokenizer": "<|endoftext|>"}, requires_safety_checker=False)
    words = dict(prompt="a red cat on the dog", negative_prompt="blue photo", height=16, width=24)

    def sd(scheduler, kind=StableDiffusionPipeline, **changes):
        return kind(**{**parts, **changes}, tokenizer=tokenizer(), scheduler=scheduler, **off, requires_safety_checker=False)

    cases.run("sd-pndm", sd(scheduler), 7, **words, num_inference_steps=5, guidance_scale=5.0)
    cases.run("sd-ddim-batch", sd(DDIMScheduler(**DDIM)), 8, prompt=["a photo of the cat", "dog"], height=16, width=16, num_inference_steps=4, guidance_scale=7.5)
    cases.run("sd-no-guidance", sd(DDIMScheduler(**DDIM)), 9, prompt="cat", height=8, width=24, num_inference_steps=3, guidance_scale=1.0)
    cases.run("sd-dpmpp-karras", sd(DPMSolverMultistepScheduler(**CHAIN, use_karras_sigmas=True)), 10, **words, num_inference_steps=6, guidance_scale=5.0)
    cases.run("sd-unipc", sd(UniPCMultistepScheduler(**CHAIN)), 11, **words, num_inference_steps=6, guidance_scale=5.0)
    cases.run("sd-euler-ancestral", sd(EulerAncestralDiscreteScheduler(**CHAIN)), 12, **words, num_inference_steps=5, guidance_scale=5.0)
    zero = DDIMScheduler(**DDIM, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    cases.run("sd-zero-snr-rescale", sd(zero), 13, **words, num_inference_steps=5, guidance_scale=5.0, guidance_rescale=0.7)
    image = dict(prompt="a red cat", negative_prompt="blue", image=picture)
    cases.run("sd-img2img", sd(DDIMScheduler(**DDIM), StableDiffusionImg2ImgPipeline), 14, **image, strength=0.6, num_inference_steps=5, guidance_scale=5.0)
    # At full strength an image still shows through, because even the first level of this chain is not pure noise.
    cases.run("sd-img2img-full", sd(DDIMScheduler(**DDIM), StableDiffusionImg2ImgPipeline), 17, **image, strength=1.0, num_inference_steps=5, guidance_scale=5.0)
    inpaint = dict(**image, mask_image=mask, height=16, width=24)
    cases.run("sd-inpaint", sd(DDIMScheduler(**DDIM), StableDiffusionInpaintPipeline), 15, **inpaint, strength=0.8, num_inference_steps=5, guidance_scale=5.0)
    # Solvers that draw noise, start from noise alone, start in the middle of their memory, or evaluate twice.
    start = dict(num_inference_steps=5, guidance_scale=5.0)
    for name, kind, scheduler, strength in (
        ("sd-inpaint-ancestral", StableDiffusionInpaintPipeline, EulerAncestralDiscreteScheduler(**CHAIN), 0.8),
        ("sd-inpaint-full", StableDiffusionInpaintPipeline, EulerAncestralDiscreteScheduler(**CHAIN), 1.0),
        ("sd-inpaint-pndm", StableDiffusionInpaintPipeline, scheduler, 1.0),
        ("sd-inpaint-lcm", StableDiffusionInpaintPipeline, LCMScheduler(**CHAIN), 0.8),
        ("sd-img2img-pndm", StableDiffusionImg2ImgPipeline, scheduler, 0.6),
        ("sd-img2img-lms", StableDiffusionImg2ImgPipeline, LMSDiscreteScheduler(**CHAIN), 0.6),
    ):
        cases.run(name, sd(scheduler, kind), 18, **(inpaint if "inpaint" in name else image), strength=strength, **start)
    cases.run("sd-lcm", sd(LCMScheduler(**CHAIN)), 19, **words, num_inference_steps=4, guidance_scale=1.5)
    seeing = unet(4, in_channels=9)
    seeing.half().save_pretrained(target / "tiny-sd-inpainting" / "unet")
    seeing.float()
    for name, strength in (("sd-inpaint-seeing", 1.0), ("sd-inpaint-seeing-part", 0.8)):
        pipe = sd(DDIMScheduler(**DDIM), StableDiffusionInpaintPipeline, unet=seeing)
        cases.run(name, pipe, 16, **inpaint, strength=strength, num_inference_steps=5, guidance_scale=5.0)
    cases.tensors["picture"] = picture
    cases.tensors["mask"] = mask

    # SDXL and its refiner.
    text_1 = randomise(CLIPTextModel(text_config(12, "quick_gelu")), 21)
    text_2 = randomise(CLIPTextModelWithProjection(text_config(16, "gelu", 10)), 22)
    shape = dict(
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        transformer_layers_per_block=[1, 2], use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=4,
    )  # fmt: skip
    base = unet(23, **shape, cross_attention_dim=28, projection_class_embeddings_input_dim=10 + 6 * 4)
    refiner = unet(24, **shape, cross_attention_dim=16, projection_class_embeddings_input_dim=10 + 5 * 4)
    xl_vae = vae(25, 0.13025)
    euler = EulerDiscreteScheduler(**CHAIN, timestep_spacing="leading")
    both = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}
    base_parts = dict(unet=base, vae=xl_vae, text_encoder=text_1, text_encoder_2=text_2)
    save_folder(target / "tiny-sdxl", "StableDiffusionXLPipeline", base_parts, euler, both, force_zeros_for_empty_prompt=True)
    refiner_parts = dict(unet=refiner, vae=xl_vae, text_encoder=None, text_encoder_2=text_2)
    save_folder(target / "tiny-sdxl-refiner", "StableDiffusionXLImg2ImgPipeline", refiner_parts, euler, {"tokenizer_2": "!"},
                requires_aesthetics_score=True, force_zeros_for_empty_prompt=False)  # fmt: skip
    xl = StableDiffusionXLPipeline(**base_parts, tokenizer=tokenizer(), tokenizer_2=tokenizer("!"), scheduler=euler, add_watermarker=False)
    fine = StableDiffusionXLImg2ImgPipeline(
        **refiner_parts, tokenizer=None, tokenizer_2=tokenizer("!"), scheduler=EulerDiscreteScheduler.from_config(euler.config),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    )  # fmt: skip
    words = dict(prompt="a red cat on the dog", num_inference_steps=5, guidance_scale=5.0)
    cases.run("xl", xl, 31, **words, height=16, width=24)
    cases.run("xl-negative", xl, 32, **words, negative_prompt="blue photo", height=24, width=16)
    generator = torch.Generator().manual_seed(33)
    xl.set_progress_bar_config(disable=True)
    latents = xl(**words, height=16, width=24, denoising_end=0.6, output_type="latent", generator=generator).images
    cases.tensors["xl-refiner.handed"] = latents.float()
    cases.run("xl-refiner", fine, 33, note="latents of the base (seed 33, denoising_end 0.6) handed over", **words, image=latents, denoising_start=0.6)

    cases.write(target, "stable-diffusion", "stable_diffusion.py", "latents [steps, N, C, h, w] after each step; images [N, H, W, 3] in [0, 1]; picture and mask NCHW in [0, 1]")


if __name__ == "__main__":
    main(sys.argv[1])
