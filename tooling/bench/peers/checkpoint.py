"""PyTorch and diffusers with a checkpoint, as a contestant of `pnpm bench:checkpoint`: 2 threads, one job a line of input.

Prints one line of JSON when ready (or why it is not there) and one for each job. The task is the JSON of the first argument.
"""

import json
import resource
import sys
import time


def say(value):
    print(json.dumps(value), flush=True)


try:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import load_file
except Exception as error:  # Whatever keeps them from loading is what there is to say.
    say({"unavailable": f"Python without PyTorch and diffusers ({error})"})
    sys.exit(0)

task = json.loads(sys.argv[1])
torch.set_num_threads(2)
dtype = getattr(torch, task["weights"])
inputs = load_file(task["inputFile"])
latent = inputs["latent"].permute(0, 3, 1, 2).contiguous().to(dtype)
others = {name: value.to(dtype) for name, value in inputs.items() if name != "latent"}
GUIDANCE_SCALE, TIME, STEP = 7.5, 500, -0.5  # As in src/checkpoint/networks.ts.
state = {}


def load():
    kind = AutoencoderKL if task["network"] == "vae" else UNet2DConditionModel
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
        else:
            added = {"text_embeds": others["pooled"], "time_ids": others["timeIds"]}
            out = model(latent, TIME, others["context"], added_cond_kwargs=added).sample
        state["answer"] = out.permute(0, 2, 3, 1).contiguous().float().numpy()


def answer():
    state["answer"].tofile(task["answerFile"])


JOBS = {"load": load, "step": step, "answer": answer}
say({"name": f"pytorch {task['weights']}", "version": torch.__version__, "jobs": list(JOBS)})
for line in sys.stdin:
    start = time.perf_counter()
    JOBS[line.strip()]()
    milliseconds = 1000 * (time.perf_counter() - start)
    say({"milliseconds": milliseconds, "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})
