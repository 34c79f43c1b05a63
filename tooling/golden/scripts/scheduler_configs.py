"""Where diffusers' schedulers end, for settings of scheduler_config.json of every class that samplerFromDiffusers reads.

Run: python tooling/golden/scripts/scheduler_configs.py packages/schedulers/test/fixtures
Needs torch, diffusers and scipy; no network. The network is a formula, so that the file holds numbers only.
"""

import inspect
import json
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()
torch.set_num_threads(1)

SHAPE = (1, 2, 3, 2)
PICTURE = torch.sin(torch.arange(12) * 1.7).reshape(SHAPE)
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SPACINGS = ("leading", "trailing", "linspace")
cases = []


def network(x, t):
    return torch.tanh(0.7 * x) * (0.9 - t / 4000) + 0.2 * torch.sin(2 * x + t / 300)


def case(name, steps, strength=None, end=None, eta=None, chain=SD, **config):
    """strength: image to image, as the pipelines start it; end: share of the noise at which the run is handed over."""
    config = {"_class_name": f"{name}Scheduler", **chain, **config}
    scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(len(cases))
    times = scheduler.timesteps
    if strength is None:
        x = torch.randn(SHAPE, generator=generator) * getattr(scheduler, "init_noise_sigma", 1.0)
    else:
        start = max(steps - min(int(steps * strength), steps), 0) * scheduler.order
        times = times[start:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start)
        x = scheduler.add_noise(PICTURE, torch.randn(SHAPE, generator=generator), times[:1])
    if end is not None:
        times = times[: len([t for t in times if t >= round(1000 * end)])]
    takes = inspect.signature(scheduler.step).parameters
    extra = {"generator": generator} if "generator" in takes else {}
    if "eta" in takes:
        extra["eta"] = eta or 0.0
    x = x.float()
    scale = getattr(scheduler, "scale_model_input", lambda x, t: x)
    for t in times:
        x = scheduler.step(network(scale(x, t), float(t)), t, x, **extra).prev_sample
    assert torch.isfinite(x).all(), config
    asked = {k: v for k, v in dict(strength=strength, end=end, eta=eta).items() if v is not None}
    x = [float(f"{v:.7g}") for v in x.permute(0, 2, 3, 1).flatten().tolist()]
    cases.append({"config": config, "steps": steps, "seed": len(cases), **asked, "x": x})


def main(target):
    plain = {"DDIM": dict(clip_sample=False), "DDPM": dict(clip_sample=False), "PNDM": dict(skip_prk_steps=True)}
    for spacing in SPACINGS:
        for name, more in plain.items():
            for steps in (7, 10, 30):  # of which two do not divide 1000
                case(name, steps, timestep_spacing=spacing, **more)
        case("PNDM", 7, timestep_spacing=spacing, skip_prk_steps=True, prediction_type="v_prediction", set_alpha_to_one=True)
        for name in ("EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "DPMSolverMultistep", "DEISMultistep", "UniPCMultistep"):
            case(name, 7, timestep_spacing=spacing, steps_offset=1)
    for name in ("EulerDiscrete", "LMSDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep"):
        for way in ("karras", "exponential", "beta"):
            case(name, 9, **{f"use_{way}_sigmas": True})
        case(name, 9, use_karras_sigmas=True, sigma_min=0.1, sigma_max=9.0)
    for name, more in plain.items():  # image to image; PNDM does not evaluate its second time twice there
        for strength in (0.3, 0.75, 0.9):
            case(name, 10, strength, steps_offset=1, **more)
    for name in ("LMSDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep", "LCM"):
        case(name, 20, 0.55)
    for name in ("DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep"):  # 20 steps are long, though fewer are made
        case(name, 20, 0.55, solver_order=3)
        case(name, 20, end=0.2, solver_order=3)
    case("EulerDiscrete", 20, end=0.2)
    for prediction in ("epsilon", "v_prediction", "sample"):
        case("DDIM", 7, prediction_type=prediction)  # clips, and keeps the noise
        case("DDPM", 7, prediction_type=prediction, clip_sample_range=0.5)
        case("LCM", 4, prediction_type=prediction)
        case("TCD", 4, prediction_type=prediction, eta=0.3)
    case("DDIM", 7, eta=0.5)
    for name in ("DDIM", "DDPM", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "LCM"):
        case(name, 6, thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5)
    case("HeunDiscrete", 6, clip_sample=True, clip_sample_range=0.8)
    for steps in (1, 3, 8):
        case("LCM", steps, original_inference_steps=20, timestep_scaling=0.01)
        case("LCM", steps, clip_sample=True)
        case("TCD", steps)
    betas = [float(f"{b:.4g}") for b in np.linspace(1e-3, 0.1, 20)]
    for name in ("DDIM", "EulerDiscrete", "DPMSolverMultistep", "LCM"):
        case(name, 4, chain=dict(trained_betas=betas, num_train_timesteps=20), clip_sample=False, original_inference_steps=10)
    case("DDPM", 6, clip_sample=False, variance_type="fixed_large", steps_offset=1)
    for schedule in ("sigmoid", "laplace"):
        case("DDPM", 6, chain=dict(beta_schedule=schedule), clip_sample=False)
    for name in ("DDIM", "DPMSolverMultistep", "UniPCMultistep"):
        zero = dict(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
        case(name, 6, clip_sample=False, **zero)
    for algorithm in ("dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"):
        for order in (1, 2, 3):
            if algorithm == "sde-dpmsolver" and order == 3:
                continue
            case("DPMSolverMultistep", 16, algorithm_type=algorithm, solver_order=order, solver_type="heun", final_sigmas_type="sigma_min")
    case("DPMSolverMultistep", 16, final_sigmas_type="sigma_min", euler_at_final=True)
    case("DPMSolverMultistep", 7, final_sigmas_type="sigma_min", lower_order_final=False)
    case("DPMSolverMultistep", 7, use_lu_lambdas=True)
    case("DPMSolverMultistep", 7, chain=dict(beta_schedule="squaredcos_cap_v2"), lambda_min_clipped=-2.0)
    for order in (1, 2, 3):
        for predict_x0 in (True, False):
            case("UniPCMultistep", 8, solver_order=order, predict_x0=predict_x0, final_sigmas_type="sigma_min", disable_corrector=[1])
        for steps in (6, 8):
            case("DPMSolverSinglestep", steps, solver_order=order, solver_type="heun")
            case("DPMSolverSinglestep", steps, solver_order=order, algorithm_type="dpmsolver", final_sigmas_type="sigma_min")
    for interpolation in ("linear", "log_linear"):
        for final in ("zero", "sigma_min"):
            case("EulerDiscrete", 6, interpolation_type=interpolation, final_sigmas_type=final)
        case("EulerDiscrete", 6, interpolation_type=interpolation, timestep_type="continuous", prediction_type="v_prediction")
    for name in ("KDPM2Discrete", "KDPM2AncestralDiscrete"):
        for spacing in SPACINGS:
            case(name, 7, timestep_spacing=spacing, steps_offset=1)
        for way in ("karras", "exponential", "beta"):
            case(name, 9, **{f"use_{way}_sigmas": True})
        case(name, 5, prediction_type="v_prediction")
        case(name, 7, chain={})  # the betas of the class
        case(name, 10, 0.55)
    for steps in (1, 3, 8):
        case("IPNDM", steps, chain={})
    for schedule in ("karras", "exponential"):
        for final in ("zero", "sigma_min"):
            edm = dict(chain={}, sigma_schedule=schedule, final_sigmas_type=final, sigma_max=20.0)
            case("EDMEuler", 6, **edm)
            for algorithm in ("dpmsolver++", "sde-dpmsolver++"):
                for order in (1, 2, 3):
                    if (algorithm, order) != ("sde-dpmsolver++", 3):
                        case("EDMDPMSolverMultistep", 8, algorithm_type=algorithm, solver_order=order, **edm)
    case("EDMEuler", 6, chain={}, prediction_type="v_prediction", sigma_data=1.0, rho=5.0)
    case("EDMDPMSolverMultistep", 18, chain={}, solver_type="heun", thresholding=True, sample_max_value=2.0)
    for name in ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete"):
        for shift in (1.0, 3.0):
            case(name, 6, chain={}, shift=shift)
    case("FlowMatchEulerDiscrete", 6, chain={}, shift=2.0, shift_terminal=0.1)
    # Three Runge-Kutta steps; strides of 142 (even), 125 (odd) and 100.
    for steps in (4, 7, 8, 10):
        for spacing in SPACINGS:
            case("PNDM", steps, skip_prk_steps=False, timestep_spacing=spacing, steps_offset=1 if spacing == "leading" else 0)
        case("PNDM", steps, skip_prk_steps=False, prediction_type="v_prediction", set_alpha_to_one=True)
    case("PNDM", 10, chain={})
    origin = {
        "origin": f"schedulers of diffusers {diffusers.__version__}, torch {torch.__version__}",
        "script": "tooling/golden/scripts/scheduler_configs.py",
        "network": "tanh(0.7 x) (0.9 - t / 4000) + 0.2 sin(2 x + t / 300)",
        "start": "torch.randn of the seed, NCHW [1, 2, 3, 2]; with a strength the picture sin(1.7 i), noised with it",
        "x": "the end, NHWC",
    }
    lines = ",\n  ".join(json.dumps(c) for c in cases)
    head = json.dumps(origin, indent=1)[:-2]
    (Path(target) / "scheduler-configs.json").write_text(f'{head},\n "cases": [\n  {lines}\n ]\n}}\n')
    print(len(cases))


if __name__ == "__main__":
    main(sys.argv[1])
