"""transformers' T5 and CLIP with every feed-forward that we build, and CLIP's image towers alone.

activations.json: weights and inputs are drawn by torch's generator from the seed of each case, weights in the order of
their names. clip-vision, clip-vision-projection: folders as `save_pretrained` leaves them, with an input and outputs.
Run: python tooling/golden/scripts/text_encoders.py packages/text-encoders/test/fixtures
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

ORIGIN = f"transformers {transformers.__version__}, torch {torch.__version__}"
SCRIPT = "tooling/golden/scripts/text_encoders.py"
T5 = dict(vocab_size=16, d_model=8, d_kv=3, num_heads=2, d_ff=12, num_layers=2, relative_attention_num_buckets=8)
CLIP = dict(hidden_size=8, intermediate_size=12, num_attention_heads=2, num_hidden_layers=2, max_position_embeddings=6)
TEXT = dict(CLIP, vocab_size=16, eos_token_id=15, bos_token_id=14)
VISION = dict(hidden_size=8, intermediate_size=12, num_attention_heads=2, num_hidden_layers=2, image_size=6, patch_size=2)
IDS = [[3, 1, 4, 1, 5, 15], [9, 2, 6, 5, 15, 0]]


def randomise(model, generator):
    for name, p in sorted(model.state_dict().items()):
        if name == "encoder.embed_tokens.weight" or name.endswith("position_ids"):
            continue
        n = torch.randn(p.shape, generator=generator)
        p.copy_(1 + 0.1 * n if "norm" in name and name.endswith("weight") else 0.5 * n)


def case(kind, name, seed):
    generator = torch.Generator().manual_seed(seed)
    if kind == "t5":
        config = {**T5, "feed_forward_proj": name}
        model = T5EncoderModel(T5Config(**config)).eval()
    else:
        config = {**TEXT, "hidden_act": name}
        model = CLIPTextModel(CLIPTextConfig(**config)).eval()
    randomise(model, generator)
    out = model(input_ids=torch.tensor(IDS)).last_hidden_state
    # transformers 5 saves the text tower without text_model.; published files have it.
    return {"kind": kind, "config": config, "seed": seed, "out": [float(f"{x:.7g}") for x in out.flatten().tolist()]}


def vision(folder, model):
    generator = torch.Generator().manual_seed(5)
    randomise(model.eval(), generator)
    model.save_pretrained(folder)
    pixels = torch.randn(2, 3, 6, 6, generator=generator)
    out = model(pixel_values=pixels)
    found = {key: getattr(out, key) for key in ("last_hidden_state", "pooler_output", "image_embeds") if key in out}
    io = {"in.pixel_values": pixels, **{f"out.{key}": value.contiguous() for key, value in found.items()}}
    save_file(io, folder / "io.safetensors")
    origin = {"class": type(model).__name__, "origin": ORIGIN, "script": SCRIPT, "seed": 5}
    (folder / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")


@torch.no_grad()
def main(target):
    names = {
        "t5": ["relu", "gelu", "silu", "gelu_new", "gated-gelu", "gated-silu", "gated-relu"],
        "clip": ["relu", "silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "mish", "quick_gelu"],
    }
    cases = [case(kind, name, seed) for kind, list in names.items() for seed, name in enumerate(list, start=1)]
    golden = {"origin": f"{ORIGIN}: {SCRIPT}", "ids": IDS, "cases": cases}
    (target / "activations.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    vision(target / "clip-vision", CLIPVisionModel(CLIPVisionConfig(**VISION)))
    vision(target / "clip-vision-projection", CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=5)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
