"""LoRA files on diffusers' Stable Diffusion 3 and FLUX pipelines, read by their own `load_lora_weights`, on the folders of sd3_flux.py.

Run: python tooling/golden/scripts/sd3_flux_lora.py packages/pipelines/test/fixtures
Needs torch, diffusers, transformers, peft and safetensors; no network. Reads tiny-sd3 and tiny-flux-dev there; writes
sd3-flux-lora.{json,safetensors} and lora-files/*.safetensors.
"""

import sys
from pathlib import Path

import peft
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, StableDiffusion3Pipeline
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel
from safetensors.torch import save_file
from sd3_flux import t5_tokenizer, unpacked
from sd3_flux_more import load
from stable_diffusion import Cases, tokenizer
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel


def factors(layers, seed, names, rank=2, alpha=None):
    """Random halves of each layer `name -> [out, in]`: `names` are the endings of down and up."""
    g = torch.Generator().manual_seed(seed)
    file = {}
    for layer, (rows, columns) in layers.items():
        file[f"{layer}.{names[0]}"] = (0.3 * torch.randn(rank, columns, generator=g)).half()
        file[f"{layer}.{names[1]}"] = (0.3 * torch.randn(rows, rank, generator=g)).half()
        if alpha is not None:
            file[f"{layer}.alpha"] = torch.tensor(float(alpha))
    return file


PEFT = ("lora_A.weight", "lora_B.weight")
KOHYA = ("lora_down.weight", "lora_up.weight")


def main(target):
    target = Path(target)
    files = target / "lora-files"
    files.mkdir(exist_ok=True)
    cases = Cases()
    words = dict(prompt="a red cat on the dog", height=16, width=24, num_inference_steps=3, max_sequence_length=64)

    def sd3(path, scale):
        folder = target / "tiny-sd3"
        pipe = StableDiffusion3Pipeline(
            transformer=load(SD3Transformer2DModel, folder, "transformer"), vae=load(AutoencoderKL, folder, "vae"),
            text_encoder=load(CLIPTextModelWithProjection, folder, "text_encoder"), text_encoder_2=load(CLIPTextModelWithProjection, folder, "text_encoder_2"),
            text_encoder_3=load(T5EncoderModel, folder, "text_encoder_3"), tokenizer=tokenizer(), tokenizer_2=tokenizer("!"), tokenizer_3=t5_tokenizer(512),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )  # fmt: skip
        return fused(pipe, path, scale)

    def flux(path, scale):
        folder = target / "tiny-flux-dev"
        moved = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096)
        pipe = FluxPipeline(
            transformer=load(FluxTransformer2DModel, folder, "transformer"), vae=load(AutoencoderKL, folder, "vae"), text_encoder=load(CLIPTextModel, folder, "text_encoder"),
            text_encoder_2=load(T5EncoderModel, folder, "text_encoder_2"), tokenizer=tokenizer(), tokenizer_2=t5_tokenizer(512), scheduler=moved,
        )  # fmt: skip
        return fused(pipe, path, scale)

    def fused(pipe, path, scale):
        pipe.load_lora_weights(str(path.parent), weight_name=path.name)
        pipe.fuse_lora(lora_scale=scale)
        return pipe

    # Stable Diffusion 3.5: diffusers' names, on both streams and a text encoder.
    block = "transformer.transformer_blocks.0"
    layers = {f"{block}.{name}": (32, 32) for name in ("attn.to_q", "attn.to_out.0", "attn2.to_k", "attn.add_v_proj")}
    layers[f"{block}.ff.net.0.proj"] = (128, 32)
    layers["text_encoder.text_model.encoder.layers.0.self_attn.q_proj"] = (12, 12)
    save_file(factors(layers, 91, PEFT), files / "sd3-peft.safetensors")
    cases.run("sd3-lora", sd3(files / "sd3-peft.safetensors", 0.8), 91, **words, negative_prompt="blue", guidance_scale=5.0)

    # FLUX: diffusers' names, and kohya's of the double blocks, whose q, k and v are one matrix.
    layers = {f"transformer.transformer_blocks.0.{name}": (32, 32) for name in ("attn.to_q", "attn.to_v", "attn.add_k_proj", "attn.to_out.0")}
    layers["transformer.single_transformer_blocks.0.proj_mlp"] = (128, 32)
    layers["transformer.single_transformer_blocks.0.proj_out"] = (32, 160)
    save_file(factors(layers, 92, PEFT), files / "flux-peft.safetensors")
    cases.run("flux-lora", flux(files / "flux-peft.safetensors", 0.7), 92, **words, guidance_scale=3.5)
    double = "lora_unet_double_blocks_0"
    layers = {f"{double}_img_attn_qkv": (96, 32), f"{double}_txt_attn_proj": (32, 32), f"{double}_img_mlp_0": (128, 32), f"{double}_txt_mod_lin": (192, 32)}
    save_file(factors(layers, 93, KOHYA, alpha=1), files / "flux-kohya.safetensors")
    cases.run("flux-lora-kohya", flux(files / "flux-kohya.safetensors", 1.2), 93, **words, guidance_scale=3.5)
    for name in ("flux-lora", "flux-lora-kohya"):
        unpacked(cases, name, 16, 24)

    cases.keep_last()
    cases.write(target, "sd3-flux-lora", "sd3_flux_lora.py", "latents [1, N, C, h, w] after the last step; images [N, H, W, 3] in [0, 1]", peft)


if __name__ == "__main__":
    main(sys.argv[1])
