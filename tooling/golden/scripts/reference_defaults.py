"""The defaults of every class of diffusers and transformers whose configuration we read, as their signatures say.

Run: python tooling/golden/scripts/reference_defaults.py packages/schedulers/test/fixtures packages/architectures/test/fixtures
Needs diffusers and transformers; no network. Our tests read a configuration with nothing in it and one with these values: a
setting that a file does not carry must mean the same to us as to its library.
"""

import inspect
import json
import sys
from pathlib import Path

import diffusers
import transformers

SCHEDULERS = [
    "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler", "LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler",
    "LCMScheduler", "TCDScheduler", "IPNDMScheduler", "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler",
]  # fmt: skip
MODELS = {
    "diffusers": [
        "UNet2DModel", "UNet2DConditionModel", "AutoencoderKL", "AutoencoderTiny", "VQModel", "DiTTransformer2DModel",
        "SD3Transformer2DModel", "FluxTransformer2DModel",
    ],
    "transformers": ["CLIPTextConfig", "CLIPVisionConfig", "T5Config"],
}  # fmt: skip


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None  # as JSON can hold it; ours reads null as no bound
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def of_signature(cls):
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return {p.name: plain(p.default) for p in named if p.default is not p.empty}


def of_config(cls):
    """transformers fills its configurations in ways that a signature does not show."""
    base = transformers.PretrainedConfig().to_dict()
    return {k: plain(v) for k, v in cls().to_dict().items() if k not in base or k in ("vocab_size",)}


def write(path, classes):
    origin = {"origin": f"diffusers {diffusers.__version__}, transformers {transformers.__version__}", "script": "tooling/golden/scripts/reference_defaults.py"}
    path.write_text(json.dumps({**origin, "classes": classes}, indent=1) + "\n")


def main(schedulers, models):
    write(Path(schedulers) / "reference-defaults.json", {name: of_signature(getattr(diffusers, name)) for name in SCHEDULERS})
    found = {name: of_signature(getattr(diffusers, name)) for name in MODELS["diffusers"]}
    found |= {name: of_config(getattr(transformers, name)) for name in MODELS["transformers"]}
    write(Path(models) / "reference-defaults.json", found)


if __name__ == "__main__":
    main(*sys.argv[1:3])
