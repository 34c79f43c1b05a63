"""GGUF files with every kind of block, and what the `gguf` package makes of them, for packages/weights/test/fixtures/gguf.

blocks.gguf: a matrix of each type, a text, an array of texts and a noted original shape in the header.
blocks.safetensors: the same matrices, dequantised by the `gguf` package.
The small blocks are quantised by that package; codes of the K-quants, which it only reads, are drawn.
Run: python tooling/golden/scripts/gguf_blocks.py packages/weights/test/fixtures/gguf
"""

import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file

# Offsets of the float16 numbers of a block, and how many there are.
HALVES = {T.Q2_K: (80, 2), T.Q3_K: (108, 1), T.Q4_K: (0, 2), T.Q5_K: (0, 2), T.Q6_K: (208, 1)}


def main(target):
    rng = np.random.default_rng(5)
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(folder / "blocks.gguf", arch="flux")
    writer.add_string("general.name", "blocks of every kind")
    writer.add_float32("a.float", 0.5)
    writer.add_array("tokenizer.ggml.tokens", ["<pad>", "a", "ü"])
    writer.add_array("comfy.gguf.orig_shape.reshaped.weight", [2, 3, 16])
    expected = {}

    def add(name, data, kind):
        writer.add_tensor(name, data, raw_dtype=kind)
        expected[name] = gguf.dequantize(data, kind).astype(np.float32)

    for kind in (T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0):
        x = (rng.standard_normal((3, 64)) * 10 ** rng.uniform(-3, 1, (3, 1))).astype(np.float32)
        x[1, 32:] = 0
        data = x if kind == T.F32 else x.astype(np.float16) if kind == T.F16 else gguf.quantize(x, kind)
        add(f"{kind.name}.weight", data, kind)
    for kind, (at, count) in HALVES.items():
        size = gguf.GGML_QUANT_SIZES[kind][1]
        data = rng.integers(0, 256, (2, 2 * size), dtype=np.uint8)
        for block in data.reshape(-1, size):
            halves = (rng.standard_normal(count) * 0.1).astype(np.float16)
            block[at : at + 2 * count] = halves.view(np.uint8)
        add(f"{kind.name}.weight", data, kind)
    add("reshaped.weight", gguf.quantize(rng.standard_normal((3, 32)).astype(np.float32), T.Q8_0), T.Q8_0)
    expected["reshaped.weight"] = expected["reshaped.weight"].reshape(2, 3, 16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, folder / "blocks.safetensors", metadata={"origin": f"gguf {gguf.__version__ if hasattr(gguf, '__version__') else 'package'}, tooling/golden/scripts/gguf_blocks.py"})


if __name__ == "__main__":
    main(sys.argv[1])
