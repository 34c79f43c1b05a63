"""Fixtures of packages/rin from the golden folders of the official implementation (pix2seq, TensorFlow 2.15).

The weights there are drawn from numpy's RandomState(seed), so a fixture holds the seed and, in the order of drawing, the keys
of the TensorFlow checkpoint with their shapes; the package's tests draw them again. This script checks that against the
golden's own weights. Needs numpy and safetensors.
Run: python tooling/golden/scripts/rin.py FOLDER_OF_GOLDENS packages/rin/test/fixtures
"""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

source, target = map(Path, sys.argv[1:])


def key_of(name):
    """A key of an object-based TensorFlow checkpoint as a state-dict key of ours."""
    key = name.removeprefix("model/denoiser/").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
    table = re.fullmatch(r"tape\.S(\w+_pos_emb(?:_res)?)\.Skernel(?:\.Svis_pos_embedding)?", key)
    return table[1] if table else key.replace("/", ".")


def drawn(rng, name, shape):
    n = rng.randn(*shape)
    if name.endswith("gamma"):
        return (0.6 if "prev_ln" in name else 1) + 0.1 * n
    if "pos_emb" in name:
        return 0.5 * n
    if not name.endswith("kernel"):
        return 0.1 * n
    contracted = shape[:-1] if "attention_output" in name or len(shape) == 4 else shape[:1]
    return 0.8 * n / np.sqrt(np.prod(contracted))


for name in ["rin", "rin-uncond", "rin-tape-cond"]:
    origin = json.loads((source / name / "origin.json").read_text())
    weights = load_file(source / name / "model.safetensors")
    rng = np.random.RandomState(origin["seed"])
    variables = []
    for variable in origin["variable_order"]:
        shape = weights[variable].shape
        assert np.array_equal(drawn(rng, variable, shape).astype(np.float32), weights[variable]), variable
        variables.append([key_of(origin["checkpoint_keys"][variable]), list(shape)])
    assert len(variables) == len(weights)
    folder = target / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / name / "config.json", folder)
    shutil.copy(source / name / "io.safetensors", folder)
    facts = {key: origin[key] for key in ["class", "origin", "versions", "seed", "weights", "note", "tolerance"]}
    (folder / "origin.json").write_text(json.dumps({**facts, "script": "tooling/golden/scripts/rin.py", "variables": variables}) + "\n")
    print(name, len(variables))
