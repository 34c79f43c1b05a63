"""An ADM cascade on tiny random weights, sampled by guided-diffusion's own code.

Run: PYTHONPATH=<a checkout of github.com/openai/guided-diffusion> python tooling/golden/scripts/adm_cascade.py packages/pipelines/test/fixtures
Needs torch and safetensors; no network. Only the pictures are written: every parameter is drawn from a generator whose seed is
its number in the state dict, so that a test can draw the same weights.
"""

import json
import sys
from pathlib import Path

import torch as th
from guided_diffusion.gaussian_diffusion import (
    LossType,
    ModelMeanType,
    ModelVarType,
    get_named_beta_schedule,
)
from guided_diffusion.respace import SpacedDiffusion, space_timesteps
from guided_diffusion.unet import SuperResModel, UNetModel
from safetensors.torch import save_file


def randomise(model, seed):
    for i, (name, p) in enumerate(model.state_dict().items()):
        n = th.randn(p.shape, generator=th.Generator().manual_seed(seed + i))
        if p.ndim > 1:
            p.copy_(0.7 * n / p[0].numel() ** 0.5)
        else:
            p.copy_(1 + 0.1 * n if is_norm(name) else 0.1 * n)
    return model.eval()


def is_norm(name):
    return name.endswith(("in_layers.0.weight", "out_layers.0.weight", "norm.weight", "out.0.weight"))


def sample(model, shape, steps, **inputs):
    diffusion = SpacedDiffusion(
        use_timesteps=space_timesteps(1000, str(steps)),
        betas=get_named_beta_schedule("linear", 1000),
        model_mean_type=ModelMeanType.EPSILON,
        model_var_type=ModelVarType.LEARNED_RANGE,
        loss_type=LossType.MSE,
    )
    # The last step's noise is multiplied by 0; it is not drawn, so that the next stage goes on where this one ended.
    randn_like, drawn = th.randn_like, 0

    def counted(x):
        nonlocal drawn
        drawn += 1
        return randn_like(x) if drawn < steps else th.zeros_like(x)

    th.randn_like = counted
    try:
        return diffusion.p_sample_loop(model, shape, clip_denoised=True, model_kwargs=inputs, device="cpu")
    finally:
        th.randn_like = randn_like


settings = dict(
    model_channels=32,
    out_channels=6,
    num_res_blocks=1,
    attention_resolutions=(2,),
    channel_mult=(1, 2),
    num_classes=3,
    use_scale_shift_norm=True,
    resblock_updown=True,
)
out = Path(sys.argv[1])
with th.no_grad():
    base = randomise(UNetModel(image_size=8, in_channels=3, num_heads=4, **settings), 1000)
    upsampler = randomise(SuperResModel(image_size=16, in_channels=3, num_head_channels=64, **settings), 2000)
    th.manual_seed(7)
    label = th.tensor([2])
    small = sample(base, (1, 3, 8, 8), 3, y=label)
    # As image_sample.py writes them into a file and super_res_sample.py reads them.
    low = ((small + 1) * 127.5).clamp(0, 255).to(th.uint8)
    large = sample(upsampler, (1, 3, 16, 16), 3, y=label, low_res=low.float() / 127.5 - 1.0)
origin = f"tooling/golden/scripts/adm_cascade.py, guided-diffusion 22e0df8, torch {th.__version__}"
tensors = {"small": small.permute(0, 2, 3, 1).contiguous(), "large": large.permute(0, 2, 3, 1).contiguous()}
save_file(tensors, out / "adm-cascade.safetensors", {"origin": origin})
shapes = {
    name: {key: list(p.shape) for key, p in model.state_dict().items()}
    for name, model in (("base", base), ("upsampler", upsampler))
}
(out / "adm-cascade.json").write_text(json.dumps({"origin": origin, "shapes": shapes}) + "\n")
print(small.abs().max(), large.abs().max(), large.std())
