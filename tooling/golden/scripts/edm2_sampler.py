"""Runs EDM2's own sampler on the tiny snapshots of edm2_snapshot.py and keeps the results: numbers only. Needs a checkout of
NVlabs/edm2 outside this repository, whose network classes and sampler are imported (CC BY-NC-SA; nothing of it is kept).

    python edm2_sampler.py <checkout> packages/pipelines/test/fixtures/edm2-sampler.safetensors

Pictures have the seeds 5 and 6, labels 0 and 2, four steps. `plain`: Heun. `guided`: Heun, guided by the unconditional snapshot with
weight 1.6. `churned`: S_churn 10 at every level, S_noise 1.003. Latents NCHW before the decoder.
"""

import pickle
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

checkout, output = sys.argv[1:]
sys.path.insert(0, checkout)
import generate_images  # noqa: E402
from training.networks_edm2 import Precond  # noqa: E402


class Shell:
    """Stands for every class of a snapshot: keeps what it is given."""

    def __init__(self, *args, **kwargs):
        pass


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if name == "_reconstruct_persistent_obj":
            return lambda meta: dict(meta["state"])
        if name == "EasyDict":
            return dict
        if name == "ModuleDict":
            return Shell
        return super().find_class(module, name)


def state_of(module, prefix=""):
    fields = module if isinstance(module, dict) else module.__dict__
    found = {}
    for kind in ["_parameters", "_buffers"]:
        found.update({prefix + key: value for key, value in fields[kind].items() if value is not None})
    for key, child in fields["_modules"].items():
        if child is not None:
            found.update(state_of(child, f"{prefix}{key}."))
    return found


def network(path):
    with open(path, "rb") as file:
        ema = Unpickler(file).load()["ema"]
    net = Precond(**ema["_init_kwargs"])
    net.load_state_dict(state_of(ema))
    net.unet.use_fp16 = False
    return net.eval().float().requires_grad_(False)


net = network("packages/weights/test/fixtures/torch/edm2-img8-tiny-0000020-0.100.pkl")
gnet = network("packages/pipelines/test/fixtures/edm2-img8-tiny-uncond-0000020-0.100.pkl")
net.use_fp16 = gnet.use_fp16 = False
labels = torch.eye(3)[[0, 2]]
results = {}
for name, settings in {
    "plain": dict(),
    "guided": dict(gnet=gnet, guidance=1.6),
    "churned": dict(S_churn=10, S_noise=1.003),
}.items():
    rnd = generate_images.StackedRandomGenerator("cpu", [5, 6])
    noise = rnd.randn([2, 4, 8, 8])
    x = generate_images.edm_sampler(
        net=net, noise=noise, labels=labels, num_steps=4, randn_like=rnd.randn_like, **settings
    )
    results[name] = x.to(torch.float32).numpy()
    print(name, float(x.std()))
save_file({key: np.ascontiguousarray(value) for key, value in results.items()}, output)
