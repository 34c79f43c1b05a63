"""A picture by stable-diffusion.cpp (the PyPI package stable-diffusion-cpp-python) from the files of `pnpm bench:full-size`.

Arguments: the folder, the transformer's file in it, pixels a side, steps. Prints a line of JSON: seconds of each step, of all, and the most memory resident.
"""

import json
import os
import resource
import sys
import time
from importlib.metadata import version

from stable_diffusion_cpp import StableDiffusion

folder, transformer, size, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
printed = os.dup(1)
os.dup2(2, 1)  # The library logs to stdout.
ends = []
started = time.perf_counter()


def progress(step, steps_now, _):
    """Called at each end of a step, and before the first one; also while tensors are loaded, of which there are more."""
    if steps_now == steps:
        ends.append(time.perf_counter())


pipeline = StableDiffusion(
    diffusion_model_path=os.path.join(folder, transformer),
    clip_l_path=os.path.join(folder, "clip_l.safetensors"),
    t5xxl_path=os.path.join(folder, "t5-v1_1-xxl-encoder-Q8_0.gguf"),
    vae_path=os.path.join(folder, "ae.safetensors"),
    n_threads=2,
)
pipeline.generate_image(
    prompt="a red cat on the dog",
    width=size,
    height=size,
    sample_steps=steps,
    cfg_scale=1.0,
    seed=7,
    progress_callback=progress,
)
answer = {
    "version": version("stable-diffusion-cpp-python"),
    "steps": [end - begin for begin, end in zip(ends, ends[1:])],
    "seconds": time.perf_counter() - started,
    "peakGB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
}
os.write(printed, (json.dumps(answer) + "\n").encode())
