"""Tiny folders of DeepFloyd IF's stages I and II in the hub's layout, and what diffusers' pipelines make of them.

Run: python tooling/golden/scripts/deepfloyd_if.py packages/pipelines/test/fixtures
Needs torch, diffusers, transformers, tokenizers and safetensors; no network. Weights are drawn at random and stored in half precision.
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, IFPipeline, IFSuperResolutionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from sd3_flux import save_t5_tokenizer, t5, t5_tokenizer
from stable_diffusion import randomise, save_folder

CHAIN = dict(beta_schedule="squaredcos_cap_v2", num_train_timesteps=1000)
# As the published scheduler_config.json files have it, of stage I and stage II.
SCHEDULERS = [
    dict(CHAIN, variance_type="learned_range", thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.5),
    dict(CHAIN, variance_type="learned_range", thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.0),
]


def unet(seed, size, **changes):
    config = dict(
        sample_size=size, in_channels=3, out_channels=6, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
        down_block_types=["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"], up_block_types=["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", attention_head_dim=8, act_fn="gelu", addition_embed_type="text", addition_embed_type_num_heads=4,
        cross_attention_dim=64, cross_attention_norm="group_norm", encoder_hid_dim=32, encoder_hid_dim_type="text_proj", mid_block_scale_factor=1.4142,
        resnet_out_scale_factor=1.4142, resnet_skip_time_act=True, resnet_time_scale_shift="scale_shift", time_embedding_act_fn="gelu",
    )  # fmt: skip
    return randomise(UNet2DConditionModel(**{**config, **changes}), seed)


class Cases:
    """Runs a pipeline and keeps x after each step."""

    def __init__(self):
        self.tensors = {}
        self.calls = {}

    def add(self, name, pipeline, generator, image=None, **call):
        pipeline.set_progress_bar_config(disable=True)
        steps = []
        given = {} if image is None else {"image": image}
        made = pipeline(
            **call, **given, generator=generator, output_type="pt", clean_caption=False,
            callback=lambda _, __, x: steps.append(x.clone()), callback_steps=1,
        ).images  # fmt: skip
        self.tensors[f"{name}.x"] = torch.stack(steps).permute(0, 1, 3, 4, 2).contiguous()
        self.calls[name] = call
        return made


def folder(target, name, class_name, parts, schedulers):
    main, *more = schedulers.items()
    save_folder(target / name, class_name, parts, main[1], {}, safety_checker=[None, None], feature_extractor=[None, None], watermarker=[None, None])
    save_t5_tokenizer(target / name / "tokenizer", t5_tokenizer(77))
    index = json.loads((target / name / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "T5TokenizerFast"]
    for part, scheduler in more:
        scheduler.save_pretrained(target / name / part)
        index[part] = ["diffusers", type(scheduler).__name__]
    (target / name / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main(target):
    target = Path(target)
    cases = Cases()
    text, tokenizer = t5(71), t5_tokenizer(77)
    first, second = unet(72, 8), unet(73, 32, in_channels=6, class_embed_type="timestep", only_cross_attention=True)
    schedulers = [DDPMScheduler(**each) for each in SCHEDULERS]
    noising = DDPMScheduler(**CHAIN)
    folder(target, "tiny-if-1", "IFPipeline", dict(unet=first, text_encoder=text), {"scheduler": schedulers[0]})
    folder(target, "tiny-if-2", "IFSuperResolutionPipeline", dict(unet=second, text_encoder=text), {"scheduler": schedulers[1], "image_noising_scheduler": noising})
    none = dict(safety_checker=None, feature_extractor=None, watermarker=None, requires_safety_checker=False)
    shared = dict(tokenizer=tokenizer, text_encoder=text, **none)

    def one(scheduler=schedulers[0]):
        return IFPipeline(unet=first, scheduler=scheduler, **shared)

    def two(scheduler=schedulers[1]):
        return IFSuperResolutionPipeline(unet=second, scheduler=scheduler, image_noising_scheduler=noising, **shared)

    def seeded(seed):
        return torch.Generator().manual_seed(seed)

    words = dict(prompt="a Red cat on the dog", num_inference_steps=5)
    cases.add("stage-1", one(), seeded(1), **words, guidance_scale=7.0, negative_prompt="blue photo")
    cases.add("stage-1-plain", one(), seeded(2), **words, guidance_scale=1.0, height=12, width=8)
    # A scheduler without variance: the pipeline leaves the learned one out.
    plain = DPMSolverMultistepScheduler(**CHAIN)
    cases.add("stage-1-dpm", one(plain), seeded(3), **words, guidance_scale=3.0)
    picture = torch.rand(1, 3, 8, 8, generator=seeded(9)).mul(255).round() / 127.5 - 1  # as in a PNG
    cases.tensors["picture"] = picture.permute(0, 2, 3, 1).contiguous()
    cases.add("stage-2", two(), seeded(4), image=picture, **words, guidance_scale=4.0, noise_level=250)
    cases.add("stage-2-plain", two(), seeded(5), image=picture, **words, guidance_scale=1.0, noise_level=0)
    # Both with one generator, as the card of IF-I-XL does it.
    generator = seeded(6)
    small = cases.add("cascade-1", one(), generator, **words, guidance_scale=7.0)
    cases.add("cascade-2", two(), generator, image=small, **words, guidance_scale=4.0, noise_level=100)
    origin = f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch {torch.__version__}: tooling/golden/scripts/deepfloyd_if.py"
    save_file(cases.tensors, target / "deepfloyd-if.safetensors", metadata={"origin": origin})
    (target / "deepfloyd-if.json").write_text(json.dumps({"origin": origin, "cases": cases.calls}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
