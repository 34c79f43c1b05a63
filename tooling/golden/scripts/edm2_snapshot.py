"""Writes a tiny snapshot with the structure of EDM2's published .pkl files: a dict of dnnlib whose `ema` is a network as records of
torch_utils.persistence, in half precision. The classes here are empty shells of our own with the reference's names, and where a
record of the reference holds the source code of its module, this one holds a placeholder.

    python edm2_snapshot.py packages/weights/test/fixtures/torch/edm2-img8-tiny-0000020-0.100.pkl
    python edm2_snapshot.py packages/pipelines/test/fixtures/edm2-img8-tiny-uncond-0000020-0.100.pkl --uncond
"""

import pickle
import sys
import types

import torch

SOURCE = "raise RuntimeError('source text of a module stands here; it must never be read')\n"


class EasyDict(dict):
    __module__ = "dnnlib.util"


def _reconstruct_persistent_obj(meta):
    raise RuntimeError("never called")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
for name, member in [("dnnlib.util", EasyDict), ("torch_utils.persistence", _reconstruct_persistent_obj)]:
    for module in [name.split(".")[0], name]:
        sys.modules.setdefault(module, types.ModuleType(module))
    setattr(sys.modules[name], member.__name__, member)


class Persistent(torch.nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self._init_args, self._init_kwargs = args, EasyDict(kwargs)

    def __reduce__(self):
        meta = EasyDict(type="class", version=6, module_src=SOURCE, class_name=type(self).__name__, state=dict(self.__dict__))
        return (_reconstruct_persistent_obj, (meta,), None)


def shell(name):
    return type(name, (Persistent,), {})


MPConv, MPFourier, Block, UNet, Precond, EDM2Loss, StabilityVAEEncoder = map(
    shell, ["MPConv", "MPFourier", "Block", "UNet", "Precond", "EDM2Loss", "StabilityVAEEncoder"]
)


def conv(inputs, outputs, kernel):
    layer = MPConv(inputs, outputs, kernel)
    layer.weight = torch.nn.Parameter(torch.randn(outputs, inputs, *kernel))
    return layer


def fourier(width):
    layer = MPFourier(width)
    layer.register_buffer("freqs", 2 * torch.pi * torch.randn(width))
    layer.register_buffer("phases", 2 * torch.pi * torch.rand(width))
    return layer


def block(inputs, outputs, embedding, flavor, attention=False):
    layer = Block(inputs, outputs, embedding, flavor=flavor, attention=attention)
    layer.emb_gain = torch.nn.Parameter(torch.tensor(0.5))
    layer.conv_res0 = conv(outputs if flavor == "enc" else inputs, outputs, [3, 3])
    layer.emb_linear = conv(embedding, outputs, [])
    layer.conv_res1 = conv(outputs, outputs, [3, 3])
    layer.conv_skip = conv(inputs, outputs, [1, 1]) if inputs != outputs else None
    layer.attn_qkv = conv(outputs, 3 * outputs, [1, 1]) if attention else None
    layer.attn_proj = conv(outputs, outputs, [1, 1]) if attention else None
    return layer


classes = 0 if "--uncond" in sys.argv else 3
torch.manual_seed(18 + len(sys.argv) - 2)
kwargs = dict(
    img_resolution=8, img_channels=4, label_dim=classes, use_fp16=True, sigma_data=0.5, logvar_channels=8,
    model_channels=4, channel_mult=[1, 2], num_blocks=1, attn_resolutions=[4], channels_per_head=4,
)
unet = UNet(img_resolution=8, img_channels=4, label_dim=classes, model_channels=4)
unet.out_gain = torch.nn.Parameter(torch.tensor(0.7))
unet.emb_fourier = fourier(4)
unet.emb_noise = conv(4, 8, [])
unet.emb_label = conv(classes, 8, []) if classes else None
unet.enc = torch.nn.ModuleDict({
    "8x8_conv": conv(5, 4, [3, 3]),
    "8x8_block0": block(4, 4, 8, "enc"),
    "4x4_down": block(4, 4, 8, "enc"),
    "4x4_block0": block(4, 8, 8, "enc", attention=True),
})
unet.dec = torch.nn.ModuleDict({
    "4x4_in0": block(8, 8, 8, "dec", attention=True),
    "4x4_in1": block(8, 8, 8, "dec"),
    "4x4_block0": block(16, 8, 8, "dec", attention=True),
    "4x4_block1": block(12, 8, 8, "dec", attention=True),
    "8x8_up": block(8, 8, 8, "dec"),
    "8x8_block0": block(12, 4, 8, "dec"),
    "8x8_block1": block(8, 4, 8, "dec"),
})
unet.out_conv = conv(4, 4, [3, 3])
net = Precond(**kwargs)
net.unet, net.logvar_fourier, net.logvar_linear = unet, fourier(8), conv(8, 1, [])
data = EasyDict(
    encoder=StabilityVAEEncoder(vae_name="stabilityai/sd-vae-ft-mse"),
    dataset_kwargs=EasyDict(path="images.zip", use_labels=True),
    loss_fn=EDM2Loss(P_mean=-0.4, P_std=1.0),
    ema=net.eval().requires_grad_(False).to(torch.float16),
)
with open(sys.argv[1], "wb") as file:
    pickle.dump(data, file)
