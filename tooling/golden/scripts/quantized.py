"""Weights quantised by other tools, and those tools' dequantisation, for packages/weights/test/fixtures/quantized.

stored.safetensors: bitsandbytes' NF4 and FP4 (plain and nested), ComfyUI's scaled 8-bit floats, INT8 by rows and ConvRot.
wide.safetensors: the same weights dequantised: by bitsandbytes, and by the formulas of their descriptions in torch.
Needs torch, safetensors, bitsandbytes.
Run: python tooling/golden/scripts/quantized.py packages/weights/test/fixtures/quantized
"""

import json
import sys
from pathlib import Path

import bitsandbytes as bnb
import torch
from safetensors.torch import save_file


def hadamard(size):
    h4 = torch.tensor([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]], dtype=torch.float64) / 2
    h = torch.ones(1, 1, dtype=torch.float64)
    while h.shape[0] < size:
        h = torch.kron(h, h4)
    return h


def text(value):
    return torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)


def main(target):
    g = torch.Generator().manual_seed(11)
    stored, wide = {}, {}
    for name, kind, nested in (("nf4", "nf4", False), ("nested", "nf4", True), ("fp4", "fp4", True)):
        w = torch.randn(6, 128, generator=g) * torch.logspace(-2, 1, 6)[:, None]
        # 2048 blocks of 64 would be nested in blocks of 256; these are few, in one.
        packed, state = bnb.functional.quantize_4bit(w, blocksize=64, quant_type=kind, compress_statistics=nested)
        stored[f"{name}.weight"] = packed
        for key, value in state.as_dict(packed=True).items():
            stored[f"{name}.weight.{key}"] = value
        wide[f"{name}.weight"] = bnb.functional.dequantize_4bit(packed, state).float()
    for name, kind, scale in (("e4m3", torch.float8_e4m3fn, "scale_weight"), ("e5m2", torch.float8_e5m2, "weight_scale")):
        w = (torch.randn(4, 8, generator=g)).to(kind)
        factor = torch.tensor(0.0123)
        stored[f"{name}.weight"] = w
        stored[f"{name}.{scale}"] = factor
        stored[f"{name}.{'scale_input' if scale == 'scale_weight' else 'input_scale'}"] = torch.tensor(1.5)
        wide[f"{name}.weight"] = w.float() * factor
    stored["e5m2.comfy_quant"] = text({"format": "float8_e5m2"})
    stored["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    stored["plain.weight"] = wide["plain.weight"] = torch.randn(3, generator=g)
    for name, size in (("rows", 1), ("convrot16", 16), ("convrot64", 64)):
        w = torch.randn(5, 128, generator=g, dtype=torch.float64)
        w[:, 3] *= 20  # An outlier, which the rotation is for.
        r = torch.block_diag(*[hadamard(size)] * (128 // size))
        turned = w @ r
        scale = (turned.abs().amax(1, keepdim=True) / 127).float()
        q = (turned / scale).round().clamp(-127, 127).to(torch.int8)
        stored[f"{name}.weight"] = q
        stored[f"{name}.weight_scale"] = scale if size > 1 else scale[:, 0]
        about = {"format": "int8_tensorwise"}
        stored[f"{name}.comfy_quant"] = text(about if size == 1 else {**about, "convrot": True, "convrot_groupsize": size})
        wide[f"{name}.weight"] = ((q.double() * scale.double()) @ r.T).float()
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    origin = {"origin": f"bitsandbytes {bnb.__version__}, torch {torch.__version__}, tooling/golden/scripts/quantized.py"}
    save_file({k: v.contiguous() for k, v in stored.items()}, folder / "stored.safetensors", metadata=origin)
    save_file({k: v.contiguous() for k, v in wide.items()}, folder / "wide.safetensors", metadata=origin)
    print({k: (tuple(v.shape), v.dtype) for k, v in stored.items()})


if __name__ == "__main__":
    main(sys.argv[1])
