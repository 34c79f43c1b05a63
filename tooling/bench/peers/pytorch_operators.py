"""PyTorch as a contestant of the operator bench: `pytorch_operators.py JSON`, the operators of src/operators.ts with names.
"""

import json
import sys

from contestant import absent, serve

try:
    import torch
    from torch.nn import functional as F
except Exception as error:  # Whatever keeps PyTorch from loading is what there is to say.
    absent(f"Python without PyTorch ({error})")

torch.set_num_threads(2)
torch.manual_seed(0)
AT_LEAST = 0.04  # Seconds that a short operator is repeated for, as in src/serve.ts.


def prepared(op):
    if op["kind"] == "convolution":
        (n, h, w, c), kernel = op["image"], op["kernel"]
        x, weight = torch.randn(n, c, h, w), torch.randn(op["channels"], c, kernel, kernel)
        return lambda: F.conv2d(x, weight, stride=op["stride"], padding=(kernel - 1) // 2)
    if op["kind"] == "product":
        x, weight = torch.randn(op["rows"], op["inner"]), torch.randn(op["columns"], op["inner"])
        return lambda: F.linear(x, weight)
    shape = lambda t: (op["batch"], t, op["heads"], op["width"])
    q, k, v = (torch.randn(shape(t)).transpose(1, 2) for t in (op["queries"], op["keys"], op["keys"]))
    return lambda: F.scaled_dot_product_attention(q, k, v)


def job(op):
    run = None

    def once():
        nonlocal run
        run = run or prepared(op)
        run()

    return once


operators = json.loads(sys.argv[1])
with torch.no_grad():
    serve("pytorch", torch.__version__, {name: job(op) for name, op in operators.items()}, AT_LEAST)
