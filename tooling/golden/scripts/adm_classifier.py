"""A tiny ADM guided by a tiny classifier, sampled by guided-diffusion's own code: ancestral steps and DDIM.

Run: PYTHONPATH=<a checkout of github.com/openai/guided-diffusion> python tooling/golden/scripts/adm_classifier.py packages/pipelines/test/fixtures
Needs torch and safetensors; no network. Weights are drawn as in adm_cascade.py. The scale is large, so that estimates leave [-1, 1]
and it shows whether they are clipped before they are shifted or after.
"""

import json
import sys
from pathlib import Path

import torch as th
import torch.nn.functional as F
from guided_diffusion.gaussian_diffusion import LossType, ModelMeanType, ModelVarType, get_named_beta_schedule
from guided_diffusion.respace import SpacedDiffusion, space_timesteps
from guided_diffusion.unet import EncoderUNetModel, UNetModel
from safetensors.torch import save_file


def randomise(model, seed):
    with th.no_grad():
        for i, (name, p) in enumerate(model.state_dict().items()):
            n = th.randn(p.shape, generator=th.Generator().manual_seed(seed + i))
            if p.ndim > 1:
                p.copy_(0.7 * n / p[0].numel() ** 0.5)
            else:
                p.copy_(1 + 0.1 * n if is_norm(name) else 0.1 * n)
    return model.eval()


def is_norm(name):
    return name.endswith(("in_layers.0.weight", "out_layers.0.weight", "norm.weight", "out.0.weight"))


shared = dict(model_channels=32, num_res_blocks=1, attention_resolutions=(2,), channel_mult=(1, 2), use_scale_shift_norm=True, resblock_updown=True)
base = randomise(UNetModel(image_size=8, in_channels=3, out_channels=6, num_heads=4, num_classes=3, **shared), 1000)
classifier = randomise(EncoderUNetModel(image_size=8, in_channels=3, out_channels=3, num_head_channels=64, pool="attention", **{**shared, "num_res_blocks": 2}), 4000)
SCALE, STEPS, LABEL = 300.0, 4, th.tensor([2])


def towards(x, t, y):
    with th.enable_grad():
        x = x.detach().requires_grad_(True)
        chosen = F.log_softmax(classifier(x, t), dim=-1)[range(len(x)), y.view(-1)]
        return th.autograd.grad(chosen.sum(), x)[0] * SCALE


def sample(how):
    diffusion = SpacedDiffusion(
        use_timesteps=space_timesteps(1000, str(STEPS)),
        betas=get_named_beta_schedule("linear", 1000),
        model_mean_type=ModelMeanType.EPSILON,
        model_var_type=ModelVarType.LEARNED_RANGE,
        loss_type=LossType.MSE,
    )
    th.manual_seed(9)
    loop = diffusion.ddim_sample_loop if how == "ddim" else diffusion.p_sample_loop
    with th.no_grad():
        made = loop(base, (1, 3, 8, 8), clip_denoised=True, model_kwargs={"y": LABEL}, cond_fn=towards, device="cpu")
    print(how, made.abs().max().item(), [int(t) for t in diffusion.timestep_map])
    return made.permute(0, 2, 3, 1).contiguous(), [int(t) for t in diffusion.timestep_map]


out = Path(sys.argv[1])
origin = f"tooling/golden/scripts/adm_classifier.py, guided-diffusion 22e0df8, torch {th.__version__}"
ddpm, times = sample("ddpm")
ddim, _ = sample("ddim")
save_file({"ddpm": ddpm, "ddim": ddim}, out / "adm-classifier.safetensors", {"origin": origin})
shapes = {name: {key: list(p.shape) for key, p in m.state_dict().items()} for name, m in (("base", base), ("classifier", classifier))}
about = {"origin": origin, "scale": SCALE, "steps": STEPS, "label": 2, "seed": 9, "times": times}
(out / "adm-classifier.json").write_text(json.dumps({**about, "shapes": shapes}) + "\n")
