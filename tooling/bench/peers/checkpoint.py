"""PyTorch and diffusers with a checkpoint, as a contestant of `pnpm bench:checkpoint`: 2 threads, one job a line of input.

The task is the JSON of the first argument.
"""

import json
import sys

from contestant import absent, serve

sys.path.pop(0)  # peft looks for modules by names that the other peers have.

try:
    import torch
    from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel
    from safetensors.torch import load_file
except Exception as error:  # Whatever keeps them from loading is what there is to say.
    absent(f"Python without PyTorch and diffusers ({error})")

task = json.loads(sys.argv[1])
torch.set_num_threads(2)
dtype = getattr(torch, task["weights"])
inputs = load_file(task["inputFile"])
latent = inputs["latent"].permute(0, 3, 1, 2).contiguous().to(dtype)
others = {name: value.to(dtype) for name, value in inputs.items() if name != "latent"}
GUIDANCE_SCALE, TIME, STEP = 7.5, 500, -0.5  # As in src/checkpoint/networks.ts.
state = {}


def load():
    kind = {"vae": AutoencoderKL, "sd35-medium": SD3Transformer2DModel}.get(task["network"], UNet2DConditionModel)
    state["model"] = kind.from_pretrained(task["folder"], torch_dtype=dtype, use_safetensors=True)


def step():
    model = state["model"]
    with torch.no_grad():
        if task["network"] == "vae":
            out = model.decode(latent).sample
        elif task["network"] == "sd15":
            noise = model(latent.repeat(2, 1, 1, 1), TIME, others["context"]).sample
            without, with_text = noise.chunk(2)
            out = latent + STEP * (without + GUIDANCE_SCALE * (with_text - without))
        elif task["network"] == "sd35-medium":
            out = model(latent, others["context"], others["pooled"], torch.tensor([TIME])).sample
        else:
            added = {"text_embeds": others["pooled"], "time_ids": others["timeIds"]}
            out = model(latent, TIME, others["context"], added_cond_kwargs=added).sample
        state["answer"] = out.permute(0, 2, 3, 1).contiguous().float().numpy()


def answer():
    state["answer"].tofile(task["answerFile"])


serve(f"pytorch {task['weights']}", torch.__version__, {"load": load, "step": step, "answer": answer})
