# Goldens of @mezzotint/features: Inception v3 as torch-fidelity, clean-fid and torchvision run it, LPIPS, DINOv2 (with and
# without registers, gated MLP, the three ways of stretching positions), CLIP with its own preprocessing, and the resizing
# itself. Every weight and picture comes from a formula, so no weights are stored.
#
#   python tooling/golden/scripts/features.py packages/features/test/fixtures
import importlib.metadata as metadata
import json
import os
import re
import sys
import tempfile
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import save_file

torch.set_grad_enabled(False)
out = sys.argv[1]
FORMULA = (
    "all arithmetic modulo 2^32: x = crc32(utf8(name)) + i; x ^= x >>> 16; x *= 0x7feb352d; x ^= x >>> 15; "
    "x *= 0x846ca68b; x ^= x >>> 16; v(name, i) = 2 (x / 2^32) - 1 in float64, i the C-order index; bytes are x >>> 24"
)


def bits(name, count):
    x = (np.arange(count, dtype=np.uint64) + zlib.crc32(name.encode())).astype(np.uint32)
    with np.errstate(over="ignore"):
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return x


def v(name, shape):
    return (2 * (bits(name, int(np.prod(shape))).astype(np.float64) / 2**32) - 1).reshape(shape)


def inception_weight(name, shape):
    """Weights and pictures by a formula, so that nothing large is stored."""
    x = v(name, shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * np.abs(x)
    if name.endswith("bn.weight"):
        return 1 + 0.1 * x
    if len(shape) >= 2:
        return np.sqrt(6 / np.prod(shape[1:])) * x
    return 0.1 * x


def plain_weight(name, shape):
    """sqrt(3 / fan_in) v for matrices and kernels, v / 2 for tokens and embeddings, 1 + v / 10 for scales, v / 10 for biases."""
    x = v(name, shape)
    if "embedding." in name or "embeddings." in name or "token" in name or "position" in name:
        if "projection" not in name and "patch" not in name:
            return 0.5 * x
    if len(shape) >= 2:
        return np.sqrt(3 / np.prod(shape[1:])) * x
    if name.endswith("weight") or name.endswith("lambda1"):
        return 1 + 0.1 * x
    return 0.1 * x


def fill(model, rule, skip=("num_batches_tracked", "AuxLogits", "position_ids")):
    state = model.state_dict()
    shapes = {}
    for name, tensor in state.items():
        if any(s in name for s in skip):
            continue
        shapes[name] = list(tensor.shape)
        state[name] = torch.from_numpy(np.array(rule(name, tuple(tensor.shape)), np.float32).reshape(tensor.shape))
    model.load_state_dict(state)
    model.eval()
    return shapes


def picture(name, height, width):
    """Smooth at the top, noise at the bottom: bytes [height, width, 3]."""
    noise = (bits(name, height * width * 3) >> np.uint32(24)).astype(np.float64).reshape(height, width, 3)
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([255 * x / (width - 1), 255 * y / (height - 1), 127.5 * (x / (width - 1) + y / (height - 1))], 2)
    return np.floor(np.where((y < height / 2)[..., None], ramp, noise)).astype(np.uint8)


pictures = [picture("small", 40, 56), picture("large", 330, 310)]
nchw = lambda p: torch.from_numpy(p.transpose(2, 0, 1)[None].copy())
io, notes = {}, {}

# --- resizing -----------------------------------------------------------------------------------------------------------
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

sizes = {"up": (picture("resize", 7, 9), (12, 10)), "down": (picture("resize", 17, 13), (5, 6))}
for key, (p, size) in sizes.items():
    x = nchw(p).float()
    io[f"resize.{key}.tensorflow1"] = interpolate_bilinear_2d_like_tensorflow1x(x, size=size, align_corners=False)
    io[f"resize.{key}.torch-bilinear"] = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    io[f"resize.{key}.torch-bicubic"] = F.interpolate(x, size=size, mode="bicubic", align_corners=False)
    planes = [
        np.asarray(Image.fromarray(p[..., c].astype(np.float32), mode="F").resize(size[::-1], Image.BICUBIC))
        for c in range(3)
    ]
    io[f"resize.{key}.pillow-float"] = torch.from_numpy(np.stack(planes)[None])
    resized = np.asarray(Image.fromarray(p).resize(size[::-1], Image.BICUBIC))
    io[f"resize.{key}.pillow-bytes"] = nchw(resized).float()

# --- Inception ----------------------------------------------------------------------------------------------------------
from cleanfid.resize import make_resizer
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

layers = ["64", "192", "768", "2048", "logits_unbiased"]
with tempfile.TemporaryDirectory() as folder:
    from torchvision.models import Inception3

    # The constructor of torch-fidelity loads a file: give it one of the right names first, then the formula's.
    from pytorch_fid.inception import fid_inception_v3
    import pytorch_fid.inception as module

    module.load_state_dict_from_url = lambda *args, **kwargs: None
    loaded = Inception3.load_state_dict
    Inception3.load_state_dict = lambda self, state, **kw: loaded(self, state, **kw) if state is not None else None
    reference = fid_inception_v3()
    Inception3.load_state_dict = loaded
    fill(reference, inception_weight)
    state = {k: t for k, t in reference.state_dict().items() if "AuxLogits" not in k}
    path = os.path.join(folder, "w.pth")
    torch.save(state, path)
    inception = FeatureExtractorInceptionV3("inception-v3-compat", layers, feature_extractor_weights_path=path)
inception.eval()
for i, p in enumerate(pictures):
    for layer, value in zip(layers, inception(nchw(p))):
        io[f"inception.{i}.{layer}"] = value

clean = make_resizer("PIL", False, "bicubic", (299, 299))
import torch_fidelity.feature_extractor_inceptionv3 as tfi

kept = tfi.interpolate_bilinear_2d_like_tensorflow1x
for i, p in enumerate(pictures):
    resized = torch.from_numpy(clean(p).transpose(2, 0, 1)[None].copy())
    tfi.interpolate_bilinear_2d_like_tensorflow1x = lambda x, **kw: resized
    io[f"inception-clean.{i}.2048"] = inception(nchw(p))[3]
tfi.interpolate_bilinear_2d_like_tensorflow1x = kept

torchvision_net = Inception3(num_classes=1000, aux_logits=True, transform_input=False, init_weights=False)
fill(torchvision_net, inception_weight)
grab = {}
torchvision_net.avgpool.register_forward_hook(lambda m, a, y: grab.update(pool=y.flatten(1)))
x = F.interpolate(nchw(pictures[0]).float(), size=(299, 299), mode="bilinear", align_corners=False) / 127.5 - 1
io["torchvision.0.logits"] = torchvision_net(x)
io["torchvision.0.2048"] = grab["pool"]

# --- LPIPS --------------------------------------------------------------------------------------------------------------
import lpips

net = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)


def lpips_weight(name, shape):
    x = v(re.sub(r"^lins\.(\d)", r"lin\1", name), shape)  # the package names each head twice
    if name.startswith("lin"):
        return 0.05 * np.abs(x)
    return np.sqrt(6 / np.prod(shape[1:])) * x if len(shape) > 1 else 0.1 * x


fill(net, lpips_weight, skip=("scaling_layer",))
a, b, c = (nchw(picture(name, 48, 40)).float() / 127.5 - 1 for name in ("a", "b", "c"))
io["lpips.ab"], io["lpips.ac"] = net(a, b).flatten(), net(a, c).flatten()

# --- DINOv2 -------------------------------------------------------------------------------------------------------------
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

tiny = dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=70, patch_size=14, attn_implementation="eager"
)
dino = {
    "dinov2": Dinov2Model(Dinov2Config(**tiny)),
    "dinov2-gated": Dinov2Model(Dinov2Config(**tiny, use_swiglu_ffn=True)),
    "dinov2-registers": Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**tiny, num_register_tokens=4)),
}
mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
shapes = {}


def dino_input(p, size):
    resized = np.asarray(Image.fromarray(p).resize((size, size), Image.BICUBIC))
    return torch.from_numpy(((resized / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32).copy())


for key, model in dino.items():
    shapes[key] = fill(model, plain_weight)
    for i, p in enumerate(pictures):
        io[f"{key}.{i}"] = model(dino_input(p, 224)).pooler_output

# The published code's stretching: PyTorch bicubic with the scale factor (side + 0.1) / positions.
model = dino["dinov2"]


def offset(embeddings, height, width):
    table = model.embeddings.position_embeddings
    grid = table[:, 1:].reshape(1, 5, 5, 32).permute(0, 3, 1, 2)
    scale = (16 + 0.1) / 5
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    assert grid.shape[-2:] == (16, 16)
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 256, 32)], 1)


model.embeddings.interpolate_pos_encoding = offset
io["dinov2-offset.0"] = model(dino_input(pictures[0], 224)).pooler_output

# --- CLIP ---------------------------------------------------------------------------------------------------------------
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

clip = CLIPModel(
    CLIPConfig(
        text_config=dict(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=49408,
            eos_token_id=49407, bos_token_id=49406,
        ),
        vision_config=dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
        ),
        projection_dim=24,
    )
)
shapes["clip"] = fill(clip, plain_weight)
processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
embeds = lambda y: y if torch.is_tensor(y) else y.pooler_output
for i, p in enumerate(pictures):
    pixels = processor(images=Image.fromarray(p), return_tensors="pt")["pixel_values"]
    io[f"clip.{i}.pixels"] = pixels
    io[f"clip.{i}"] = embeds(clip.get_image_features(pixels))
ids = [49406, 320, 1125, 539, 320, 2368, 49407]  # "a photo of a cat"
io["clip.text"] = embeds(clip.get_text_features(torch.tensor([ids])))
long = [49406] + [320, 1125, 539] * 25 + [49407]  # 75 words and both ends: exactly 77
io["clip.long-text"] = embeds(clip.get_text_features(torch.tensor([long])))

arrays = {k: np.ascontiguousarray(t.detach().float().numpy()) for k, t in io.items()}
save_file(arrays, os.path.join(out, "features.safetensors"))
os.chmod(os.path.join(out, "features.safetensors"), 0o644)
packages = ["torch", "torchvision", "torch_fidelity", "clean-fid", "pytorch-fid", "lpips", "transformers", "pillow"]
with open(os.path.join(out, "features.json"), "w") as f:
    json.dump(
        {
            "origin": "tooling/golden/scripts/features.py",
            "made with": {name: metadata.version(name) for name in packages},
            "formula": FORMULA,
            "shapes": shapes,
        },
        f,
        indent=1,
    )
for key, value in arrays.items():
    print(key, value.shape, float(value.std()))
