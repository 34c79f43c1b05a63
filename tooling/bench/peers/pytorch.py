"""PyTorch as a contestant of the bench: the same networks, written from the papers or taken from diffusers (random weights),
2 threads: `pytorch.py network job`, so that the process's memory is that job's.
"""

import math
import sys

from contestant import absent, serve

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except Exception as error:  # Whatever keeps PyTorch from loading is what there is to say.
    absent(f"Python without PyTorch ({error})")

from architectures import ARCHITECTURES

torch.set_num_threads(2)
torch.manual_seed(0)

MATMUL_SIZE = 2048  # As in src/cost.ts.
NETWORKS = {
    "unet": dict(size=32, inputs=3, outputs=3, width=64, mults=[1, 2, 2], blocks=2, attention={2}, head=64, groups=32, classes=None, conv=True, batch=8),
    "digits": dict(size=28, inputs=1, outputs=1, width=32, mults=[0.5, 1, 2], blocks=1, attention={4}, head=32, groups=8, classes=11, conv=False, batch=64),
}

DITS = {
    "dit-s4": dict(size=32, patch=4, channels=4, width=384, depth=12, heads=6, classes=1000, batch=8),
    "dit-xl2": dict(size=32, patch=2, channels=4, width=1152, depth=28, heads=16, classes=1000, batch=1),
}


def waves(t, width):
    """Cosines and sines of the times, [N, width]. DDPM, appendix B."""
    half = width // 2
    angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Block(nn.Module):
    """Residual block with GroupNorm(h) (1 + scale) + shift. Dhariwal and Nichol 2021, section 3."""

    def __init__(self, cin, cout, emb, groups):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.emb = nn.Linear(emb, 2 * cout)
        self.norm2, self.conv2 = nn.GroupNorm(groups, cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)
        return self.skip(x) + self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))


class Attention(nn.Module):
    def __init__(self, channels, head, groups):
        super().__init__()
        self.heads = channels // head
        self.norm, self.qkv, self.proj = nn.GroupNorm(groups, channels), nn.Conv1d(channels, 3 * channels, 1), nn.Conv1d(channels, channels, 1)

    def forward(self, x, _):
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x).flatten(2)).view(n, 3, self.heads, c // self.heads, h * w).transpose(3, 4).unbind(1)
        out = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, c, h * w)
        return x + self.proj(out).view(n, c, h, w)


class Resample(nn.Module):
    def __init__(self, channels, up, conv):
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, stride=1 if up else 2) if conv else None

    def forward(self, x, _):
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            return self.conv(x) if self.conv else x
        return self.conv(x) if self.conv else F.avg_pool2d(x, 2)


class UNet(nn.Module):
    def __init__(self, size, inputs, outputs, width, mults, blocks, attention, head, groups, classes, conv, batch):
        super().__init__()
        self.width, emb = width, 4 * width
        self.time = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.label = nn.Embedding(classes, emb) if classes else None
        channels = [int(m * width) for m in mults]
        self.first = nn.Conv2d(inputs, channels[0], 3, padding=1)
        self.down, self.decoder, skips, c = nn.ModuleList(), nn.ModuleList(), [channels[0]], channels[0]

        def stage(cin, cout, factor):
            layers = [Block(cin, cout, emb, groups)]
            return nn.ModuleList(layers + [Attention(cout, head, groups)] if factor in attention else layers)

        for level, cout in enumerate(channels):
            for _ in range(blocks):
                self.down.append(stage(c, cout, 2**level))
                c = cout
                skips.append(c)
            if level < len(channels) - 1:
                self.down.append(nn.ModuleList([Resample(c, False, conv)]))
                skips.append(c)
        self.middle = nn.ModuleList([Block(c, c, emb, groups), Attention(c, head, groups), Block(c, c, emb, groups)])
        for level, cout in reversed(list(enumerate(channels))):
            for i in range(blocks + 1):
                layers = stage(c + skips.pop(), cout, 2**level)
                c = cout
                if level > 0 and i == blocks:
                    layers.append(Resample(c, True, conv))
                self.decoder.append(layers)
        self.out = nn.Sequential(nn.GroupNorm(groups, c), nn.SiLU(), nn.Conv2d(c, outputs, 3, padding=1))

    def forward(self, x, t, labels):
        emb = self.time(waves(t, self.width))
        if self.label is not None:
            emb = emb + self.label(labels)
        emb = F.silu(emb)
        h, skips = self.first(x), []
        skips.append(h)
        for stage in self.down:
            for layer in stage:
                h = layer(h, emb)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, emb)
        for stage in self.decoder:
            h = torch.cat([h, skips.pop()], dim=1)
            for layer in stage:
                h = layer(h, emb)
        return self.out(h)


class AdaptiveBlock(nn.Module):
    """Transformer block whose norms are modulated and whose branches are gated by the condition (adaLN-Zero).
    Peebles and Xie 2022, section 3.2."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.condition = nn.Linear(width, 6 * width)

    def attention(self, x):
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.condition(c)[:, None].chunk(6, dim=2)
        x = x + gate1 * self.attention(self.norm(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """Peebles and Xie 2022. Positions are random here: their values take no time."""

    def __init__(self, size, patch, channels, width, depth, heads, classes, batch):
        super().__init__()
        self.patch, self.side, self.outputs = patch, size // patch, 2 * channels
        self.first = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, self.side**2, width), requires_grad=False)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList(AdaptiveBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.condition, self.last = nn.Linear(width, 2 * width), nn.Linear(width, patch * patch * self.outputs)

    def forward(self, x, t, labels):
        c = F.silu(self.time(waves(t, 256)) + self.label(labels))
        h = self.first(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.condition(c)[:, None].chunk(2, dim=2)
        h = self.last(self.norm(h) * (1 + scale) + shift)
        n, side, p = len(x), self.side, self.patch
        return h.view(n, side, side, p, p, self.outputs).permute(0, 5, 1, 3, 2, 4).reshape(n, self.outputs, side * p, side * p)


def own(name):
    """One of the networks written here."""
    config = NETWORKS.get(name) or DITS[name]
    net = (UNet if name in NETWORKS else DiT)(**config)
    batch, size = config["batch"], config["size"]
    x = torch.randn(batch, config["channels" if name in DITS else "inputs"], size, size)
    t = torch.linspace(1, 999, batch)
    labels = torch.zeros(batch, dtype=torch.long)
    return net, lambda: net(x, t, labels)


def from_diffusers(name):
    """The networks of Stable Diffusion 1.5, whose class defaults are theirs but for what is said here."""
    try:
        from diffusers import AutoencoderKL, UNet2DConditionModel
    except Exception as error:
        absent(f"PyTorch without diffusers ({error})")
    if name == "sd15":
        net = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        x, t, context = torch.randn(1, 4, 64, 64), torch.tensor([500.0]), torch.randn(1, 77, 768)
        return net, lambda: net(x, t, context).sample
    channels = (128, 256, 512, 512)
    net = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=channels,
        layers_per_block=2,
    )
    z = torch.randn(1, 4, 64, 64)
    return net, lambda: net.decode(z).sample


name, job = sys.argv[1:]
if job == "matmul":
    matrices = torch.randn(2, MATMUL_SIZE, MATMUL_SIZE)
else:
    if name in ARCHITECTURES:
        net, run = ARCHITECTURES[name]()
    else:
        net, run = (own if name in NETWORKS or name in DITS else from_diffusers)(name)
if job == "train":
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.01)


def forward():
    with torch.no_grad():
        run()


def train():
    optimizer.zero_grad(set_to_none=True)
    run().square().mean().backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()


def matmul():
    with torch.no_grad():
        (matrices[0] @ matrices[1]).sum().item()


serve("pytorch", torch.__version__, {job: {"forward": forward, "train": train, "matmul": matmul}[job]})
