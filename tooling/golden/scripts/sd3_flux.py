"""Tiny Stable Diffusion 3 and FLUX folders in the hub's layout, files of other tools, and what diffusers' pipelines make of them.

Run: python tooling/golden/scripts/sd3_flux.py packages/pipelines/test/fixtures
Needs torch, diffusers, transformers, tokenizers, safetensors, gguf and peft; no network. Weights are drawn at random and stored in
half precision.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
)
from mmdit import flux_original
from safetensors.torch import save_file
from stable_diffusion import WORDS, Cases, randomise, save_folder, text_config, tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5TokenizerFast

LETTERS = [chr(c) for c in range(97, 123)]
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(w, -3.0) for w in WORDS] + [("▁" + w, -2.5) for w in WORDS] + [(c, -6.0 - i / 10) for i, c in enumerate(LETTERS)]


def t5_tokenizer(length):
    made = Tokenizer(models.Unigram(PIECES, unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", extra_ids=0, model_max_length=length)


def t5(seed):
    config = T5Config(vocab_size=len(PIECES), d_model=32, d_kv=8, num_heads=4, d_ff=64, num_layers=2, feed_forward_proj="gated-gelu", relative_attention_num_buckets=8, relative_attention_max_distance=16)
    model = T5EncoderModel(config)
    return randomise(model, seed)


def vae(seed, scale, shift, channels=4):
    return randomise(
        AutoencoderKL(
            block_out_channels=[8, 16], latent_channels=channels, layers_per_block=1, norm_num_groups=4, sample_size=16, scaling_factor=scale, shift_factor=shift,
            use_quant_conv=False, use_post_quant_conv=False, down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        seed,
    )  # fmt: skip


def save_t5_tokenizer(folder, made):
    folder.mkdir(parents=True)
    made.backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": made.model_max_length, "tokenizer_class": "T5TokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")


def strong(model, seed):
    """Weights that make text, time and guidance show in the picture, without blowing it up."""
    randomise(model, seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    for name, p in model.named_parameters():
        if p.ndim > 1 and ("norm1" in name or "norm_out" in name or "norm.linear" in name):
            p.data = 0.8 * torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5
    return model.half().float().eval()


def save_gguf(path, state, kinds, architecture=None, shapes=True):
    """As ComfyUI-GGUF's converter and stable-diffusion.cpp write them: matrices in blocks, all else in F32 or F16."""
    writer = gguf.GGUFWriter(path, arch=architecture or "none")
    if architecture is None:
        writer.kv_data[0].pop("general.architecture")  # stable-diffusion.cpp notes none.
    wide = {}
    for i, (name, tensor) in enumerate(state.items()):
        data = tensor.float().numpy()
        kind = kinds[i % len(kinds)] if data.ndim == 2 and data.shape[1] % 32 == 0 and min(data.shape) >= 32 else gguf.GGMLQuantizationType.F32
        packed = data if kind == gguf.GGMLQuantizationType.F32 else gguf.quantize(data, kind)
        writer.add_tensor(name, packed, raw_dtype=kind)
        wide[name] = torch.from_numpy(gguf.dequantize(packed, kind).astype(np.float32).reshape(data.shape).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return wide


def unpacked(cases, name, height, width):
    """Packed latents [steps, N, T, 4 C] as images [steps, N, C, h, w]."""
    x = cases.tensors[f"{name}.latents"]
    steps, n, _, c = x.shape
    x = x.reshape(steps, n, height // 4, width // 4, c // 4, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)
    cases.tensors[f"{name}.latents"] = x.reshape(steps, n, c // 4, height // 2, width // 2).contiguous()


def main(target):
    target = Path(target)
    cases = Cases()
    picture = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(99)).mul(255).round() / 255  # as in a PNG
    mask = torch.zeros(1, 1, 16, 24)
    mask[:, :, 4:12, 8:20] = 1
    cases.tensors["picture"] = picture
    cases.tensors["mask"] = mask
    words = dict(prompt="a red cat on the dog", height=16, width=24)
    no = dict(negative_prompt="blue photo")

    # Stable Diffusion 3.5: RMS norms, a second attention in the first block.
    clip_l = randomise(CLIPTextModelWithProjection(text_config(12, "quick_gelu", 8)), 41)
    clip_g = randomise(CLIPTextModelWithProjection(text_config(16, "gelu", 10)), 42)
    text_t5 = t5(43)
    sd3 = strong(
        SD3Transformer2DModel(
            in_channels=16, out_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=2, caption_projection_dim=32, joint_attention_dim=32,
            pooled_projection_dim=18, pos_embed_max_size=12, sample_size=12, qk_norm="rms_norm", dual_attention_layers=(0,),
        ),
        44,
    )  # fmt: skip
    parts = dict(transformer=sd3, vae=vae(45, 1.5305, 0.0609, 16), text_encoder=clip_l, text_encoder_2=clip_g, text_encoder_3=text_t5)
    shifted = FlowMatchEulerDiscreteScheduler(shift=3.0)
    save_folder(target / "tiny-sd3", "StableDiffusion3Pipeline", parts, shifted, {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"})
    save_t5_tokenizer(target / "tiny-sd3" / "tokenizer_3", t5_tokenizer(512))
    index = json.loads((target / "tiny-sd3" / "model_index.json").read_text())
    index["tokenizer_3"] = ["transformers", "T5TokenizerFast"]
    (target / "tiny-sd3" / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")

    def three(kind=StableDiffusion3Pipeline, scheduler=shifted, **changes):
        made = kind(**{**parts, **changes}, tokenizer=tokenizer(), tokenizer_2=tokenizer("!"), tokenizer_3=t5_tokenizer(512), scheduler=scheduler)
        return made

    cases.run("sd3", three(), 51, **words, **no, num_inference_steps=5, guidance_scale=5.0)
    cases.run("sd3-batch", three(), 52, prompt=["a photo of the cat", "dog"], height=16, width=16, num_inference_steps=4, guidance_scale=1.0, max_sequence_length=77)
    cases.run("sd3-no-t5", three(text_encoder_3=None), 53, **words, num_inference_steps=4, guidance_scale=4.0)
    cases.run("sd3-skip-layers", three(), 54, **words, num_inference_steps=6, guidance_scale=4.0, skip_guidance_layers=[0], skip_layer_guidance_scale=2.8, skip_layer_guidance_start=0.01, skip_layer_guidance_stop=0.5)
    image = dict(prompt="a red cat", negative_prompt="blue", image=picture)
    cases.run("sd3-img2img", three(StableDiffusion3Img2ImgPipeline), 55, **image, height=16, width=24, strength=0.6, num_inference_steps=5, guidance_scale=5.0)
    cases.run("sd3-inpaint", three(StableDiffusion3InpaintPipeline), 56, **image, mask_image=mask, height=16, width=24, strength=0.8, num_inference_steps=5, guidance_scale=5.0)
    cases.run("sd3-inpaint-full", three(StableDiffusion3InpaintPipeline), 57, **image, mask_image=mask, height=16, width=24, strength=1.0, num_inference_steps=4, guidance_scale=5.0)

    # FLUX.1 dev and schnell.
    plain_clip = randomise(CLIPTextModel(text_config(12, "quick_gelu")), 61)
    size = dict(in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=12, axes_dims_rope=(2, 8, 6))
    dev = strong(FluxTransformer2DModel(**size, guidance_embeds=True), 62)
    schnell = FluxTransformer2DModel(**size).eval()  # dev without a guidance scale: its folder can be made of dev's
    schnell.load_state_dict({name: tensor for name, tensor in dev.state_dict().items() if "guidance_embedder" not in name})
    flux_vae = vae(64, 0.3611, 0.1159)
    moved = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096)
    still = FlowMatchEulerDiscreteScheduler(shift=1.0)
    folder = target / "tiny-flux-dev"
    own = dict(transformer=dev, vae=flux_vae, text_encoder=plain_clip, text_encoder_2=text_t5)
    save_folder(folder, "FluxPipeline", own, moved, {"tokenizer": "<|endoftext|>"})
    save_t5_tokenizer(folder / "tokenizer_2", t5_tokenizer(512))
    index = json.loads((folder / "model_index.json").read_text())
    index["tokenizer_2"] = ["transformers", "T5TokenizerFast"]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")

    def flux(kind=FluxPipeline, transformer=dev, scheduler=moved):
        return kind(transformer=transformer, vae=flux_vae, text_encoder=plain_clip, text_encoder_2=text_t5, tokenizer=tokenizer(), tokenizer_2=t5_tokenizer(512), scheduler=scheduler)

    cases.run("flux-dev", flux(), 71, **words, num_inference_steps=5, guidance_scale=3.5)
    cases.run("flux-schnell", flux(transformer=schnell, scheduler=still), 72, **words, num_inference_steps=4, guidance_scale=0.0, max_sequence_length=256)
    cases.run("flux-true-cfg", flux(), 73, **words, **no, num_inference_steps=4, guidance_scale=3.5, true_cfg_scale=2.5, max_sequence_length=64)
    cases.run("flux-batch", flux(), 74, prompt=["a photo of the cat", "dog"], height=16, width=24, num_inference_steps=3, guidance_scale=1.5, max_sequence_length=64)
    image = dict(prompt="a red cat", image=picture, height=16, width=24, max_sequence_length=64)
    cases.run("flux-img2img", flux(FluxImg2ImgPipeline), 75, **image, strength=0.6, num_inference_steps=5, guidance_scale=3.5)
    cases.run("flux-inpaint", flux(FluxInpaintPipeline), 76, **image, mask_image=mask, strength=0.8, num_inference_steps=5, guidance_scale=3.5)
    for name in ("flux-dev", "flux-schnell", "flux-true-cfg", "flux-batch", "flux-img2img", "flux-inpaint"):
        unpacked(cases, name, 16, 24)

    # The same schnell in files of other tools; diffusers runs what the gguf package, and torch, dequantise.
    files = target / "flux-files"
    files.mkdir(exist_ok=True)
    original = flux_original(schnell.state_dict(), 1, 1)
    Q = gguf.GGMLQuantizationType

    def run_as(name, wide):
        again = FluxTransformer2DModel(**size)
        again.load_state_dict(to_diffusers(wide, schnell.state_dict()))
        cases.run(name, flux(transformer=again.eval(), scheduler=still), 72, **words, num_inference_steps=4, guidance_scale=0.0, max_sequence_length=256)
        unpacked(cases, name, 16, 24)

    run_as("flux-gguf-q4_0", save_gguf(files / "tiny-schnell-Q4_0.gguf", original, [Q.Q4_0], "flux"))
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in original.items()}
    mixed = save_gguf(files / "tiny-schnell-mixed.gguf", prefixed, [Q.Q8_0, Q.Q5_0, Q.Q5_1, Q.Q4_1, Q.Q8_0])
    run_as("flux-gguf-mixed", {name.removeprefix("model.diffusion_model."): tensor for name, tensor in mixed.items()})
    scaled, wide = {}, {}
    for name, tensor in original.items():
        if tensor.ndim == 2:
            scale = tensor.abs().max() / 448
            eight = (tensor / scale).to(torch.float8_e4m3fn)
            scaled[f"model.diffusion_model.{name}"] = eight
            scaled[f"model.diffusion_model.{name.removesuffix('.weight')}.scale_weight"] = scale.float()
            wide[name] = eight.float() * scale.float()
        else:
            scaled[f"model.diffusion_model.{name}"] = tensor.half()
            wide[name] = tensor.half().float()
    scaled["model.diffusion_model.scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    save_file(scaled, files / "tiny-schnell-fp8-scaled.safetensors")
    run_as("flux-fp8-scaled", wide)

    # What the last step gives is enough, but for one of each family.
    cases.keep_last(but=("sd3", "flux-dev"))
    cases.write(target, "sd3-flux", "sd3_flux.py", "latents [steps, N, C, h, w] after each step (sd3, flux-dev) or the last one; images [N, H, W, 3] in [0, 1]; picture and mask NCHW in [0, 1]")


def to_diffusers(wide, like):
    """Numbers of the original layout under diffusers' names: found by running the map on numbered tensors."""
    at = 0
    numbered = {}
    for name, tensor in like.items():
        numbered[name] = torch.arange(at, at + tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
        at += tensor.numel()
    flat = torch.zeros(at, dtype=torch.float32)
    for name, places in flux_original(numbered, 1, 1).items():
        flat[places.long().flatten()] = wide[name].flatten()
    return {name: flat[places.long()] for name, places in numbered.items()}


if __name__ == "__main__":
    main(sys.argv[1])
