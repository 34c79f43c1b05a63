"""A linear layer and a convolution with peft's LoRA and DoRA: outputs, gradients and the state dict as peft saves it.

Needs torch and peft. Run: python tooling/golden/scripts/peft_lora.py packages/training/test/fixtures/peft-lora.json
"""

import json
import sys

import peft
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.linear = torch.nn.Linear(4, 5)

    def forward(self, x):  # [N, 3, H, W] -> [N, H, W, 5]
        return self.linear(torch.tanh(self.conv(x)).permute(0, 2, 3, 1))


def listed(tensor):
    return {"shape": list(tensor.shape), "data": [round(v, 8) for v in tensor.detach().flatten().tolist()]}


torch.manual_seed(0)
base = Net()
x = torch.randn(2, 3, 4, 4)
weight = torch.randn(2, 4, 4, 5)
out = {
    "origin": f"peft {peft.__version__}, torch {torch.__version__}, float32; loss = sum(weight * y)",
    "base": {k: listed(v) for k, v in base.state_dict().items()},
    "x": listed(x),
    "weight": listed(weight),
    "cases": {},
}
for name, dora in (("lora", False), ("dora", True)):
    net = Net()
    net.load_state_dict(base.state_dict())
    model = get_peft_model(net, LoraConfig(r=2, lora_alpha=3, target_modules=["conv", "linear"], use_dora=dora))
    for key, p in model.named_parameters():
        if "lora_" in key and "magnitude" not in key:
            p.data = 0.3 * torch.randn(p.shape)
        if "magnitude" in key:
            p.data = p.data * (1 + 0.2 * torch.randn(p.shape))
    y = model(x)
    (weight * y).sum().backward()
    grads = {
        k.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector"): listed(p.grad)
        for k, p in model.named_parameters()
        if p.grad is not None
    }
    out["cases"][name] = {
        "state": {k: listed(v) for k, v in get_peft_model_state_dict(model).items()},
        "y": listed(y),
        "gradients": grads,
    }
json.dump(out, open(sys.argv[1], "w"))
