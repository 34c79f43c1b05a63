"""Tiny folders of Stable Diffusion 2, the x4 upscaler, a latent consistency model and others, textual inversions, and what diffusers'
pipelines make of them.

Run: python tooling/golden/scripts/pipelines.py packages/pipelines/test/fixtures
Needs torch, diffusers, transformers and safetensors; no network. Weights are drawn at random and stored in half precision.
"""

import json
import shutil
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DDPMScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import save_file
from stable_diffusion import CHAIN, DDIM, Cases, randomise, save_folder, text_config, tokenizer, unet, vae
from transformers import CLIPTextModel, CLIPTextModelWithProjection


def main(target):
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    cases = Cases()
    picture = torch.rand(1, 3, 18, 26, generator=torch.Generator().manual_seed(99)).mul(255).round() / 255  # as in a PNG
    off = dict(safety_checker=None, feature_extractor=None)
    plain = dict(requires_safety_checker=False)
    words = dict(prompt="a red cat on the dog", negative_prompt="blue photo")

    # Stable Diffusion 2 at 768 pixels: OpenCLIP filled up with `!`, matrices at both ends of the transformers, v-prediction.
    text = randomise(CLIPTextModel(text_config(12, "gelu")), 41)
    parts = dict(unet=unet(42, use_linear_projection=True, attention_head_dim=[2, 4]), vae=vae(43, 0.18215), text_encoder=text)
    ddim = DDIMScheduler(**DDIM, prediction_type="v_prediction")
    save_folder(target / "tiny-sd2", "StableDiffusionPipeline", {**parts, **off}, ddim, {"tokenizer": "!"}, **plain)

    def sd2(scheduler, kind=StableDiffusionPipeline):
        return kind(**parts, tokenizer=tokenizer("!"), scheduler=scheduler, **off, **plain)

    cases.run("sd2-v", sd2(ddim), 51, **words, height=16, width=24, num_inference_steps=5, guidance_scale=5.0)
    zero = DDIMScheduler(**DDIM, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    cases.run("sd2-zero-snr", sd2(zero), 52, **words, height=16, width=24, num_inference_steps=5, guidance_scale=5.0, guidance_rescale=0.7)
    # Clip skip, guidance of 0 (the conditional model alone), and a prompt that is cut.
    object.__setattr__(text, "text_model", text)  # diffusers looks for it; transformers 5 has no such level
    cases.run("sd2-clip-skip", sd2(ddim), 53, **words, height=16, width=16, num_inference_steps=3, guidance_scale=5.0, clip_skip=1)
    cases.run("sd2-guidance-zero", sd2(ddim), 54, **words, height=16, width=16, num_inference_steps=3, guidance_scale=0.0)
    long = " ".join(["a red cat"] * 40)
    cases.run("sd2-long", sd2(ddim), 55, prompt=long, height=16, width=16, num_inference_steps=3, guidance_scale=5.0)
    # A start picture whose sides are no multiples of the autoencoder's factor.
    odd = Image.fromarray((255 * picture[0, :, :17, :25]).round().byte().permute(1, 2, 0).numpy())
    image = dict(prompt="a red cat", negative_prompt="blue", image=odd)
    cases.run("sd2-img2img-odd", sd2(ddim, StableDiffusionImg2ImgPipeline), 56, **image, strength=0.6, num_inference_steps=5, guidance_scale=5.0)

    # The tiny autoencoder in the place of the VAE.
    tiny = randomise(AutoencoderTiny(encoder_block_out_channels=[8, 8], decoder_block_out_channels=[8, 8], num_encoder_blocks=[1, 1], num_decoder_blocks=[1, 1]), 44)
    tiny.half().save_pretrained(target / "tiny-vae")
    tiny.float()
    pipe = StableDiffusionPipeline(**{**parts, "vae": tiny}, tokenizer=tokenizer("!"), scheduler=ddim, **off, **plain)
    cases.run("sd2-tiny-vae", pipe, 57, **words, height=16, width=24, num_inference_steps=3, guidance_scale=5.0)

    # A latent consistency model: the guidance scale is an input of the UNet.
    lcm_parts = {**parts, "unet": unet(45, use_linear_projection=True, attention_head_dim=[2, 4], time_cond_proj_dim=10)}
    lcm = LCMScheduler(**CHAIN)
    lcm_parts["unet"].half().save_pretrained(target / "tiny-lcm-unet")
    lcm_parts["unet"].float()
    pipe = LatentConsistencyModelPipeline(**lcm_parts, tokenizer=tokenizer("!"), scheduler=lcm, **off, **plain)
    cases.run("lcm", pipe, 58, prompt="a red cat on the dog", height=16, width=24, num_inference_steps=4, guidance_scale=8.5)

    # The x4 upscaler: the small picture, with noise of a level that the UNet is told.
    wide = AutoencoderKL(
        block_out_channels=[8, 8, 16], latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=32, scaling_factor=0.08333,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
    )  # fmt: skip
    up_unet = unet(47, in_channels=7, num_class_embeds=1000, use_linear_projection=True, attention_head_dim=[2, 4])
    up_parts = dict(unet=up_unet, vae=randomise(wide, 46), text_encoder=text)
    noise = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.0001, beta_end=0.02, num_train_timesteps=1000)
    save_folder(target / "tiny-upscaler", "StableDiffusionUpscalePipeline", {**up_parts}, ddim, {"tokenizer": "!"}, max_noise_level=350)
    noise.save_pretrained(target / "tiny-upscaler" / "low_res_scheduler")
    index = json.loads((target / "tiny-upscaler" / "model_index.json").read_text())
    index["low_res_scheduler"] = ["diffusers", "DDPMScheduler"]
    (target / "tiny-upscaler" / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    pipe = StableDiffusionUpscalePipeline(**up_parts, tokenizer=tokenizer("!"), scheduler=ddim, low_res_scheduler=noise, max_noise_level=350)
    small = picture[:, :, :8, :12]
    call = dict(**words, num_inference_steps=4, guidance_scale=5.0, noise_level=20)
    steps = []
    pipe.set_progress_bar_config(disable=True)
    out = pipe(**call, image=small, generator=torch.Generator().manual_seed(59), output_type="np", callback=lambda i, t, x: steps.append(x.clone()))
    cases.tensors["upscaler.latents"] = torch.stack(steps).float()
    cases.tensors["upscaler.images"] = torch.from_numpy(np.ascontiguousarray(out.images)).float()
    cases.calls["upscaler"] = {"seed": 59, "scheduler": {"_class_name": "DDIMScheduler"}, **call}
    for part in ("text_encoder", "tokenizer"):  # those of tiny-sd2
        shutil.rmtree(target / "tiny-upscaler" / part)

    # Textual inversion: one and several vectors, of diffusers and of the web UI.
    def vectors(n, width, seed):
        return 0.5 * torch.randn(n, width, generator=torch.Generator().manual_seed(seed))

    save_file({"<cat-toy>": vectors(1, 12, 61)[0]}, target / "cat-toy.safetensors")
    web = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors(3, 12, 62)}, "name": "my-style", "step": 100, "sd_checkpoint": None}
    torch.save(web, target / "my-style.pt")
    torch.save({"<dog-toy>": vectors(2, 12, 63)}, target / "learned_embeds.bin")
    pipe = sd2(ddim)
    pipe.text_encoder = CLIPTextModel(text_config(12, "gelu")).eval()
    pipe.text_encoder.load_state_dict(text.state_dict())
    for name in ("cat-toy.safetensors", "my-style.pt", "learned_embeds.bin"):
        pipe.load_textual_inversion(str(target), weight_name=name)
    inverted = dict(prompt="a red <cat-toy> on the <dog-toy>", negative_prompt="my-style", height=16, width=16)
    cases.run("inversion", pipe, 64, **inverted, num_inference_steps=3, guidance_scale=5.0)

    # SDXL: a pair of embeddings, second prompts, sizes and crop, clip skip, image to image, inpainting.
    text_1 = randomise(CLIPTextModel(text_config(12, "quick_gelu")), 21)
    text_2 = randomise(CLIPTextModelWithProjection(text_config(16, "gelu", 10)), 22)
    shape = dict(
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        transformer_layers_per_block=[1, 2], use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=4,
    )  # fmt: skip
    base = unet(23, **shape, cross_attention_dim=28, projection_class_embeddings_input_dim=10 + 6 * 4)
    xl_parts = dict(unet=base, vae=vae(25, 0.13025), text_encoder=text_1, text_encoder_2=text_2)
    euler = diffusers.EulerDiscreteScheduler(**CHAIN, timestep_spacing="leading")

    def xl(kind=StableDiffusionXLPipeline, scheduler=euler):
        return kind(**xl_parts, tokenizer=tokenizer(), tokenizer_2=tokenizer("!"), scheduler=scheduler, add_watermarker=False)

    both = dict(prompt="a red cat", prompt_2="the dog", negative_prompt="blue", negative_prompt_2="photo")
    sizes = dict(original_size=(64, 48), crops_coords_top_left=(3, 5), target_size=(32, 40))
    cases.run("xl-second", xl(), 71, **both, **sizes, height=16, width=24, num_inference_steps=4, guidance_scale=5.0, clip_skip=1)
    cases.run("xl-img2img", xl(StableDiffusionXLImg2ImgPipeline), 72, prompt="a red cat", image=picture[:, :, :16, :24], strength=0.6, num_inference_steps=5, guidance_scale=5.0)
    mask = torch.zeros(1, 1, 16, 24)
    mask[:, :, 4:12, 8:20] = 1
    inpaint = dict(prompt="a red cat", image=picture[:, :, :16, :24], mask_image=mask, height=16, width=24)
    cases.run("xl-inpaint", xl(StableDiffusionXLInpaintPipeline), 73, **inpaint, strength=0.8, num_inference_steps=5, guidance_scale=5.0)
    pair = {"clip_l": vectors(2, 12, 65), "clip_g": vectors(2, 16, 66)}
    save_file(pair, target / "pair.safetensors")
    pipe = xl()
    pipe.text_encoder = CLIPTextModel(text_config(12, "quick_gelu")).eval()
    pipe.text_encoder.load_state_dict(text_1.state_dict())
    pipe.text_encoder_2 = CLIPTextModelWithProjection(text_config(16, "gelu", 10)).eval()
    pipe.text_encoder_2.load_state_dict(text_2.state_dict())
    pipe.load_textual_inversion({"<toy>": pair["clip_l"]}, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
    pipe.load_textual_inversion({"<toy>": pair["clip_g"]}, text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)
    cases.run("xl-inversion", pipe, 74, prompt="a red <toy>", height=16, width=16, num_inference_steps=3, guidance_scale=5.0)

    cases.tensors["picture"] = picture
    cases.tensors["mask"] = mask
    cases.write(target, "pipelines", "pipelines.py", "latents [steps, N, C, h, w] after each step; images [N, H, W, 3] in [0, 1]; picture and mask NCHW in [0, 1]")


main(sys.argv[1])
