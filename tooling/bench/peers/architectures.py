"""U-ViT, RIN, ZigMa and simple diffusion's U-ViT in PyTorch, written from the papers, in the sizes that the bench times; random weights.
What does not change the time is left out of it: positions and paths are random."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def waves(t, width):
    half = width // 2
    angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def heads_of(x, heads):
    n, tokens, width = x.shape
    return x.view(n, tokens, heads, width // heads).transpose(1, 2)


def attended(q, k, v, heads):
    out = F.scaled_dot_product_attention(heads_of(q, heads), heads_of(k, heads), heads_of(v, heads))
    return out.transpose(1, 2).flatten(2)


def pixels(tokens, side, p, channels):
    n = len(tokens)
    return tokens.view(n, side, side, p, p, channels).permute(0, 5, 1, 3, 2, 4).reshape(n, channels, side * p, side * p)


class UViT(nn.Module):
    """Bao et al. 2022: time and patches as tokens, long skips; CelebA's S/4."""

    def __init__(self, size=64, patch=4, channels=3, width=512, depth=12, heads=8):
        super().__init__()
        self.width, self.patch, self.side, self.channels = width, patch, size // patch, channels
        self.first = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, 1 + self.side**2, width) * 0.02)
        block = lambda skip=False: UViTBlock(width, heads, skip)  # noqa: E731
        self.down = nn.ModuleList(block() for _ in range(depth // 2))
        self.middle = block()
        self.up = nn.ModuleList(block(True) for _ in range(depth // 2))
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, patch * patch * channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, t):
        patches = self.first(x).flatten(2).transpose(1, 2)
        h = torch.cat([waves(t, self.width)[:, None], patches], 1) + self.positions
        skips = []
        for block in self.down:
            h = block(h)
            skips.append(h)
        h = self.middle(h)
        for block in self.up:
            h = block(h, skips.pop())
        h = self.last(self.norm(h))[:, 1:]
        return self.conv(pixels(h, self.side, self.patch, self.channels))


class UViTBlock(nn.Module):
    def __init__(self, width, heads, skip):
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.skip = nn.Linear(2 * width, width) if skip else None

    def forward(self, x, skip=None):
        if self.skip is not None:
            x = self.skip(torch.cat([x, skip], 2))
        x = x + self.proj(attended(*self.qkv(self.norm1(x)).chunk(3, 2), self.heads))
        return x + self.mlp(self.norm2(x))


class Rin(nn.Module):
    """Jabri et al. 2022: latents read, compute and write; the original's CIFAR-10."""

    def __init__(self, size=32, patch=2, channels=3, slots=128, width=512, heads=16, tokens=256, token_ratio=2, rw_heads=8, blocks=(2, 2, 2), classes=10):
        super().__init__()
        self.patch, self.side, self.channels, self.width = patch, size // patch, channels, width
        self.stem, self.stem_norm = nn.Conv2d(channels, tokens, patch, stride=patch), nn.LayerNorm(tokens)
        self.positions = nn.Parameter(torch.randn(1, self.side**2, tokens) * 0.02)
        self.slots = nn.Parameter(torch.randn(1, slots - 2, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(width // 4, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes, width)
        self.previous, self.previous_norm = Mlp(width, 4), nn.LayerNorm(width)
        self.read = nn.ModuleList(Cross(width, tokens, rw_heads, 4) for _ in blocks)
        self.write = nn.ModuleList(Cross(tokens, width, rw_heads, token_ratio) for _ in blocks)
        self.compute = nn.ModuleList(nn.ModuleList(SelfLayer(width, heads) for _ in range(n)) for n in blocks)
        self.norm, self.last = nn.LayerNorm(tokens), nn.Linear(tokens, patch * patch * channels)

    def forward(self, x, t, labels):
        tape = self.stem_norm(self.stem(x).flatten(2).transpose(1, 2)) + self.positions
        e = waves(1000 * t, self.width // 4)
        e = (e - e.mean(1, keepdim=True)) / e.std(1, keepdim=True, unbiased=False)
        latents = torch.cat([self.slots.expand(len(x), -1, -1), self.time(e)[:, None], self.label(labels)[:, None]], 1)
        latents = latents + self.previous_norm(self.previous(torch.zeros_like(latents)))
        for read, compute, write in zip(self.read, self.compute, self.write):
            latents = read(latents, tape)
            for layer in compute:
                latents = layer(latents)
            tape = write(tape, latents)
        return pixels(self.last(self.norm(tape)), self.side, self.patch, self.channels)


class Mlp(nn.Module):
    def __init__(self, width, ratio):
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(width, eps=1e-6), nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x):
        return x + self.net(x)


class Cross(nn.Module):
    def __init__(self, width, source, heads, ratio):
        super().__init__()
        inner = min(width, source)
        self.heads, self.norm = heads, nn.LayerNorm(width, eps=1e-6)
        self.q, self.k, self.v, self.out = nn.Linear(width, inner), nn.Linear(source, inner), nn.Linear(source, inner), nn.Linear(inner, width)
        self.mlp = Mlp(width, ratio)

    def forward(self, x, source):
        return self.mlp(x + self.out(attended(self.q(self.norm(x)), self.k(source), self.v(source), self.heads)))


class SelfLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.norm, self.qkv, self.out = heads, nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = Mlp(width, 4)

    def forward(self, x):
        return self.mlp(x + self.out(attended(*self.qkv(self.norm(x)).chunk(3, 2), self.heads)))


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


class ZigMa(nn.Module):
    """Hu et al. 2024, S/4. The scan is the reference's for processors: a loop over the tokens (its fused kernel is CUDA's)."""

    def __init__(self, size=32, patch=4, channels=4, width=368, depth=24):
        super().__init__()
        self.patch, self.side, self.channels = patch, size // patch, channels
        self.first = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.zeros(1, self.side**2, width))
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(ZigMaBlock(width, self.side**2) for _ in range(depth))
        self.norm_f, self.norm = RmsNorm(width), nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.last = nn.Linear(width, patch * patch * channels)

    def forward(self, x, t):
        h, r = self.first(x).flatten(2).transpose(1, 2) + self.positions, 0
        c = F.silu(self.time(waves(1000 * t, 256)))
        for block in self.blocks:
            h, r = block(h, r, c)
        return pixels(self.last(self.norm(self.norm_f(r + h))), self.side, self.patch, self.channels)


class ZigMaBlock(nn.Module):
    def __init__(self, width, tokens):
        super().__init__()
        self.norm, self.mixer, self.condition = RmsNorm(width), Mamba(width), nn.Linear(width, 3 * width)
        self.register_buffer("path", torch.randperm(tokens))
        self.register_buffer("back", torch.argsort(self.path))

    def forward(self, h, r, c):
        r = r + h
        n = self.norm(r)
        shift, scale, gate = self.condition(c)[:, None].chunk(3, 2)
        mixed = self.mixer((n * (1 + scale) + shift)[:, self.path])[:, self.back]
        return n + gate * mixed, r


class Mamba(nn.Module):
    """Gu and Dao 2023, section 3.4."""

    def __init__(self, width, states=16, taps=4):
        super().__init__()
        inner, self.rank, self.states = 2 * width, math.ceil(width / 16), states
        self.into, self.conv = nn.Linear(width, 2 * inner, bias=False), nn.Conv1d(inner, inner, taps, padding=taps - 1, groups=inner)
        self.x, self.dt = nn.Linear(inner, self.rank + 2 * states, bias=False), nn.Linear(self.rank, inner)
        self.log_a, self.d = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1)), nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, h):
        x, z = self.into(h).chunk(2, 2)
        x = F.silu(self.conv(x.transpose(1, 2))[..., : h.shape[1]].transpose(1, 2))
        low, b, c = self.x(x).split([self.rank, self.states, self.states], 2)
        delta = F.softplus(self.dt(low))
        decay = torch.exp(delta[..., None] * -self.log_a.exp())
        given = (delta * x)[..., None] * b[:, :, None]
        state, ys = torch.zeros_like(decay[:, 0]), []
        for t in range(h.shape[1]):
            state = decay[:, t] * state + given[:, t]
            ys.append((state * c[:, t, None]).sum(2))
        return self.out((torch.stack(ys, 1) + self.d * x) * F.silu(z))


class SimpleDiffusion(nn.Module):
    """Hoogeboom et al. 2023: convolutions around a transformer; the size `small` for 64x64 pixels."""

    def __init__(self, size=64, channels=3, levels=(32, 64), blocks=2, width=256, depth=6, head=64, emb=256, groups=32, classes=11):
        super().__init__()
        self.emb = emb
        self.time, self.label = nn.Sequential(nn.Linear(emb, emb), nn.SiLU(), nn.Linear(emb, emb)), nn.Embedding(classes, emb)
        self.first = nn.Conv2d(channels, levels[0], 1)
        below = [*levels[1:], width]
        stack = lambda c: nn.ModuleList(Residual(c, emb, groups) for _ in range(blocks))  # noqa: E731
        self.down = nn.ModuleList(stack(c) for c in levels)
        self.narrow = nn.ModuleList(nn.Conv2d(c, to, 1) for c, to in zip(levels, below))
        self.positions = nn.Parameter(torch.randn(1, (size // 2 ** len(levels)) ** 2, width) * 0.02)
        self.middle = nn.ModuleList(Modulated(width, head, emb) for _ in range(depth))
        self.widen = nn.ModuleList(nn.Conv2d(to, c, 1) for c, to in zip(levels, below))
        self.up = nn.ModuleList(stack(c) for c in levels)
        self.norm, self.last = nn.GroupNorm(groups, levels[0]), nn.Conv2d(levels[0], channels, 1)

    def forward(self, x, t, labels):
        e = F.silu(self.time(waves(t, self.emb)) + self.label(labels))
        h, skips = self.first(x), []
        for stack, narrow in zip(self.down, self.narrow):
            for block in stack:
                h = block(h, e)
                skips.append(h)
            h = narrow(F.avg_pool2d(h, 2))
        n, width, rows, columns = h.shape
        tokens = h.flatten(2).transpose(1, 2) + self.positions
        for block in self.middle:
            tokens = block(tokens, e)
        h = tokens.transpose(1, 2).reshape(n, width, rows, columns)
        for stack, widen in zip(reversed(self.up), reversed(self.widen)):
            h = F.interpolate(widen(h), scale_factor=2, mode="nearest")
            for block in stack:
                h = block(h + skips.pop(), e)
        return self.last(F.silu(self.norm(h)))


class Residual(nn.Module):
    def __init__(self, c, emb, groups):
        super().__init__()
        self.norm1, self.conv1, self.condition = nn.GroupNorm(groups, c), nn.Conv2d(c, c, 3, padding=1), nn.Linear(emb, 2 * c)
        self.norm2, self.conv2 = nn.GroupNorm(groups, c), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x, e):
        scale, shift = self.condition(e)[:, :, None, None].chunk(2, 1)
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        return x + self.conv2(F.silu(h * (1 + scale) + shift))


class Modulated(nn.Module):
    def __init__(self, width, head, emb):
        super().__init__()
        self.heads = width // head
        self.norm1, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.fc1, self.condition, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(emb, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x, e):
        x = x + self.proj(attended(*self.qkv(self.norm1(x)).chunk(3, 2), self.heads))
        scale, shift = self.condition(e)[:, None].chunk(2, 2)
        return x + self.fc2(F.silu(self.fc1(self.norm2(x))) * (1 + scale) + shift)


def built(kind, batch, size, channels, classes):
    """A network and a call of it."""
    net = kind()
    x, t = torch.randn(batch, channels, size, size), torch.linspace(0.01, 0.99, batch)
    labels = [torch.zeros(batch, dtype=torch.long)] if classes else []
    return net, lambda: net(x, t, *labels)


ARCHITECTURES = {
    "uvit-s4": lambda: built(UViT, 4, 64, 3, False),
    "rin-cifar10": lambda: built(Rin, 8, 32, 3, True),
    "zigma-s4": lambda: built(ZigMa, 8, 32, 4, False),
    "simple-diffusion": lambda: built(SimpleDiffusion, 4, 64, 3, True),
}
