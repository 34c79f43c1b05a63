"""Random numbers by PyTorch and NumPy: `random_numbers.py count runs` prints the seconds of each draw as JSON."""

import json
import sys
import time

import numpy
import torch

count, runs = (int(argument) for argument in sys.argv[1:])
torch.set_num_threads(2)
state = numpy.random.RandomState(0)


def seconds(draw):
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        draw(count)
        times.append(time.perf_counter() - start)
    return times[1:]


print(
    json.dumps(
        [
            {"name": f"torch {torch.__version__}", "seconds": {"normals": seconds(torch.randn), "uniforms": seconds(torch.rand)}},
            {"name": f"NumPy {numpy.__version__} RandomState", "seconds": {"normals": seconds(state.standard_normal)}},
        ]
    )
)
