"""A Mamba-2 mixer of transformers with one input and output, for packages/zigma/test/fixtures/mamba2. Needs torch, transformers
and safetensors.
Run: python tooling/golden/scripts/mamba2.py packages/zigma/test/fixtures/mamba2
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.mamba2.modeling_mamba2 import Mamba2Config, Mamba2Mixer

torch.set_num_threads(1)
target = Path(sys.argv[1])
settings = dict(hidden_size=12, expand=2, head_dim=6, num_heads=4, state_size=5, conv_kernel=4, n_groups=1, chunk_size=4, use_bias=False, use_conv_bias=True, layer_norm_epsilon=1e-5, rms_norm=True)
mixer = Mamba2Mixer(Mamba2Config(**settings), layer_idx=0).eval()
generator = torch.Generator().manual_seed(1)
for name, p in mixer.named_parameters():
    n = torch.randn(p.shape, generator=generator)
    p.data = 0.7 * n / p[0].numel() ** 0.5 if p.ndim > 1 else 0.5 * n + (1 if name in ("D", "norm.weight") else 0)
x = torch.randn(2, 11, 12, generator=generator)
with torch.no_grad():
    y = mixer(x)
target.mkdir(parents=True, exist_ok=True)
save_file({key: value.contiguous() for key, value in mixer.state_dict().items()}, target / "model.safetensors")
save_file({"in.x": x, "out.y": y.contiguous()}, target / "io.safetensors")
(target / "config.json").write_text(json.dumps(settings) + "\n")
origin = {"class": "Mamba2Mixer", "origin": f"transformers {transformers.__version__}, torch {torch.__version__}", "script": "tooling/golden/scripts/mamba2.py", "seed": 1}
(target / "origin.json").write_text(json.dumps(origin) + "\n")
print({k: tuple(v.shape) for k, v in mixer.state_dict().items()}, y.std())
