# What torch-fidelity, clean-fid, pytorch-fid and torchmetrics print of two folders of formula-made pictures with Inception's
# formula-made weights (those of features.py): what `evaluate` has to print too.
#
#   python tooling/golden/scripts/evaluate.py apps/evaluate/test/fixtures/references.json
import importlib.metadata as metadata
import importlib.util
import json
import os
import sys
import tempfile
import warnings

import numpy as np
import scipy.linalg
import torch
from PIL import Image

warnings.simplefilter("ignore")
torch.set_grad_enabled(False)
# pytorch-fid 0.3 and clean-fid 0.1 ask for two results of sqrtm, which scipy 1.17 no longer gives.
sqrtm = scipy.linalg.sqrtm
scipy.linalg.sqrtm = lambda a, disp=True, **kw: sqrtm(a) if disp else (sqrtm(a), 0.0)

here = os.path.dirname(os.path.abspath(__file__))


def bits(name, count):
    import zlib

    x = (np.arange(count, dtype=np.uint64) + zlib.crc32(name.encode())).astype(np.uint32)
    with np.errstate(over="ignore"):
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return x


def inception_weight(name, shape):
    x = (2 * (bits(name, int(np.prod(shape))).astype(np.float64) / 2**32) - 1).reshape(shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * np.abs(x)
    if name.endswith("bn.weight"):
        return 1 + 0.1 * x
    return np.sqrt(6 / np.prod(shape[1:])) * x if len(shape) >= 2 else 0.1 * x


SIZE, COUNT = 24, 20


def picture(name, smooth):
    """A slanted ramp of the colours that the name says under noise: bytes [24, 24, 3]."""
    b = (bits(name, SIZE * SIZE * 3 + 6) >> np.uint32(24)).astype(np.float64)
    noise, slopes = b[6:].reshape(SIZE, SIZE, 3), b[:6].reshape(2, 3) / 255
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    ramp = 255 * (slopes[0] * x[..., None] + slopes[1] * y[..., None]) / 2
    return np.floor(smooth * ramp + (1 - smooth) * noise).astype(np.uint8)


sets = {"generated": 0.98, "real": 0.1}
out = {"size": SIZE, "count": COUNT, "smooth": sets}
with tempfile.TemporaryDirectory() as root:
    for name, smooth in sets.items():
        os.mkdir(os.path.join(root, name))
        for i in range(COUNT):
            Image.fromarray(picture(f"{name}-{i}", smooth)).save(os.path.join(root, name, f"{i:03}.png"))
    generated, real = (os.path.join(root, name) for name in sets)

    from torchvision.models import Inception3
    import pytorch_fid.inception as module

    module.load_state_dict_from_url = lambda *args, **kwargs: None
    loaded = Inception3.load_state_dict
    Inception3.load_state_dict = lambda self, state, **kw: loaded(self, state, **kw) if state is not None else None
    network = module.fid_inception_v3()
    Inception3.load_state_dict = loaded
    state = network.state_dict()
    for name, tensor in state.items():
        if "num_batches_tracked" not in name:
            state[name] = torch.from_numpy(inception_weight(name, tuple(tensor.shape)).astype(np.float32))
    network.load_state_dict(state)
    weights = os.path.join(root, "weights.pth")
    torch.save(state, weights)

    import torch_fidelity

    layers = {"2048": "2048"}
    for label, layer in layers.items():
        found = torch_fidelity.calculate_metrics(
            input1=generated, input2=real, fid=True, kid=label == "2048", isc=label == "2048", prc=label == "2048",
            kid_subset_size=COUNT, kid_subsets=100, feature_layer_fid=layer, feature_extractor="inception-v3-compat", cuda=False, verbose=False, cache=False,
            feature_extractor_weights_path=weights, batch_size=16,
        )
        out[f"torch-fidelity {label}"] = {k: float(v) for k, v in found.items()}

    module.fid_inception_v3 = lambda: network
    from pytorch_fid.fid_score import calculate_fid_given_paths

    for dims in (2048,):
        value = calculate_fid_given_paths([generated, real], 16, "cpu", dims, num_workers=0)
        out[f"pytorch-fid {dims}"] = float(value)

    from cleanfid.features import build_feature_extractor  # noqa: F401 (names the module for errors)
    from cleanfid.fid import fid_from_feats, get_folder_features
    import torch_fidelity.feature_extractor_inceptionv3 as tfi

    extractor = tfi.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights)
    held = {}
    tfi.interpolate_bilinear_2d_like_tensorflow1x = lambda x, **kw: held["x"]

    def clean(x):
        held["x"] = x
        return extractor(torch.zeros(len(x), 3, 2, 2, dtype=torch.uint8))[0]

    feats = [
        get_folder_features(folder, clean, num_workers=0, batch_size=16, device=torch.device("cpu"), mode="clean", verbose=False)
        for folder in (generated, real)
    ]
    out["clean-fid 2048"] = float(fid_from_feats(*feats))


# CLIP score: torchmetrics with a CLIP ViT-B/32 of one layer (transformers' layout) with formula-made weights, on the first pictures
# in `generated` and one prompt each. The ids are those of CLIP's tokenizer.
import transformers
from torchmetrics.functional.multimodal import clip_score

PROMPTS = {
    "a cat on a sofa": [49406, 320, 2368, 525, 320, 15723, 49407],
    "rain over the sea, oil on canvas": [49406, 2443, 962, 518, 2102, 267, 2870, 525, 7483, 49407],
    "rain on canvas": [49406, 2443, 525, 7483, 49407],
    "a photo of a sofa": [49406, 320, 1125, 539, 320, 15723, 49407],
}
TEXT = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "bos_token_id": 49406, "eos_token_id": 49407}
VISION = {"hidden_size": 768, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 12, "patch_size": 32}


def plain_weight(name, shape):
    """That of features.py."""
    x = (2 * (bits(name, int(np.prod(shape))).astype(np.float64) / 2**32) - 1).reshape(shape)
    if any(w in name for w in ("embedding.", "embeddings.", "token", "position")) and "projection" not in name and "patch" not in name:
        return 0.5 * x
    if len(shape) >= 2:
        return np.sqrt(3 / np.prod(shape[1:])) * x
    return 1 + 0.1 * x if name.endswith("weight") else 0.1 * x


clip = transformers.CLIPModel(transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=512)).eval()
clip.load_state_dict({n: torch.from_numpy(np.asarray(plain_weight(n, tuple(t.shape)), dtype=np.float32)) for n, t in clip.state_dict().items() if "position_ids" not in n}, strict=False)
images = transformers.CLIPImageProcessorPil() if hasattr(transformers, "CLIPImageProcessorPil") else transformers.CLIPImageProcessor()


class Model:
    config = clip.config
    to = lambda self, device: self
    get_image_features = lambda self, pixels: getattr(found := clip.get_image_features(pixel_values=pixels), "pooler_output", found)
    get_text_features = lambda self, ids, mask: getattr(found := clip.get_text_features(input_ids=ids, attention_mask=mask), "pooler_output", found)


def processor(text=None, **kw):
    if text is None:
        return images(images=[Image.fromarray(i.permute(1, 2, 0).numpy()) for i in kw["images"]], return_tensors="pt")
    longest = max(len(PROMPTS[t]) for t in text)
    ids = torch.tensor([PROMPTS[t] + [49407] * (longest - len(PROMPTS[t])) for t in text])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


pictures = [torch.from_numpy(picture(f"generated-{i}", sets["generated"])).permute(2, 0, 1) for i in range(len(PROMPTS))]
scores = [float(clip_score(p, t, model_name_or_path=lambda: (Model(), processor))) for p, t in zip(pictures, PROMPTS)]
together = float(clip_score(pictures, list(PROMPTS), model_name_or_path=lambda: (Model(), processor)))
out["torchmetrics CLIP score"] = {"prompts": list(PROMPTS), "score": together, "one by one": scores}

packages = ["torch_fidelity", "pytorch-fid", "clean-fid", "torch", "pillow", "scipy", "torchmetrics", "transformers"]
with open(sys.argv[1], "w") as f:
    json.dump(
        {"origin": "tooling/golden/scripts/evaluate.py", "made with": {p: metadata.version(p) for p in packages}, **out},
        f,
        indent=1,
    )
print(json.dumps(out, indent=1))
