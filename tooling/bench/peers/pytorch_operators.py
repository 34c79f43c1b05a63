"""PyTorch as a contestant of the operator bench: `pytorch_operators.py JSON`, the operators of src/operators.ts with names.

Prints one line of JSON when ready (or why it is not there), and one for each line of input, which names an operator.
"""

import json
import resource
import sys
import time


def say(value):
    print(json.dumps(value), flush=True)


try:
    import torch
    from torch.nn import functional as F
except Exception as error:  # Whatever keeps PyTorch from loading is what there is to say.
    say({"unavailable": f"Python without PyTorch ({error})"})
    sys.exit(0)

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


operators = json.loads(sys.argv[1])
ready = {}
say({"name": "pytorch", "version": torch.__version__, "jobs": list(operators)})
with torch.no_grad():
    for line in sys.stdin:
        name = line.strip()
        start, runs = time.perf_counter(), 0
        if name not in ready:
            ready[name] = prepared(operators[name])
        while runs == 0 or time.perf_counter() - start < AT_LEAST:
            ready[name]()
            runs += 1
        milliseconds = 1000 * (time.perf_counter() - start) / runs
        say({"milliseconds": milliseconds, "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})
