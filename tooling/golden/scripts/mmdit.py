"""Tiny SD3 and FLUX transformers of diffusers with one input and output each, for packages/mmdit/test/fixtures.

Weights are saved in the layout of the original single files, which is the package's own (the maps below are written
independently of those in packages/weights). Parameters are drawn anew and large, so that gates, attention logits and the
text stream all weigh in the output. Needs torch, diffusers and safetensors.
Run: python tooling/golden/scripts/mmdit.py packages/mmdit/test/fixtures
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from safetensors.torch import save_file

SD3 = dict(in_channels=3, num_layers=3, attention_head_dim=8, num_attention_heads=2, caption_projection_dim=16, joint_attention_dim=12, pooled_projection_dim=10, out_channels=3, pos_embed_max_size=9, sample_size=12)
FLUX = dict(in_channels=8, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=1, joint_attention_dim=12, pooled_projection_dim=10, axes_dims_rope=(2, 8, 6))

MODELS = {
    # An odd grid, cut out of the middle of odd positions; no norms of q and k.
    "sd3": (SD3Transformer2DModel, SD3),
    # Second attentions in blocks that are not the first ones.
    "sd35": (SD3Transformer2DModel, dict(SD3, qk_norm="rms_norm", dual_attention_layers=(1, 2))),
    "flux-dev": (FluxTransformer2DModel, dict(FLUX, guidance_embeds=True)),
    "flux-schnell": (FluxTransformer2DModel, dict(FLUX, attention_head_dim=8, num_attention_heads=2, axes_dims_rope=(4, 2, 2))),
}


def randomise(model, generator):
    for name, p in model.named_parameters():
        n = torch.randn(p.shape, generator=generator)
        p.data = 1.5 * n / p[0].numel() ** 0.5 if p.ndim > 1 else 0.3 * n + (1.3 if "norm" in name and name.endswith("weight") else 0)


def swapped(tensor):
    """Scale before shift, as diffusers has it in some places -> shift before scale."""
    scale, shift = tensor.chunk(2)
    return torch.cat([shift, scale])


def sd3_original(state, depth):
    out = {"pos_embed": state["pos_embed.pos_embed"]}

    def copy(left, right, change=lambda t: t):
        for end in ("weight", "bias"):
            if f"{right}.{end}" in state:
                out[f"{left}.{end}"] = change(state[f"{right}.{end}"])

    def fuse(left, *rights):
        for end in ("weight", "bias"):
            out[f"{left}.{end}"] = torch.cat([state[f"{right}.{end}"] for right in rights])

    copy("x_embedder.proj", "pos_embed.proj")
    for left, right in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder")):
        copy(f"{left}.mlp.0", f"time_text_embed.{right}.linear_1")
        copy(f"{left}.mlp.2", f"time_text_embed.{right}.linear_2")
    copy("context_embedder", "context_embedder")
    for n in range(depth):
        x, c, d = f"joint_blocks.{n}.x_block", f"joint_blocks.{n}.context_block", f"transformer_blocks.{n}"
        fuse(f"{c}.attn.qkv", f"{d}.attn.add_q_proj", f"{d}.attn.add_k_proj", f"{d}.attn.add_v_proj")
        copy(f"{c}.attn.ln_q", f"{d}.attn.norm_added_q")
        copy(f"{c}.attn.ln_k", f"{d}.attn.norm_added_k")
        copy(f"{c}.attn.proj", f"{d}.attn.to_add_out")
        copy(f"{c}.mlp.fc1", f"{d}.ff_context.net.0.proj")
        copy(f"{c}.mlp.fc2", f"{d}.ff_context.net.2")
        copy(f"{c}.adaLN_modulation.1", f"{d}.norm1_context.linear", swapped if n == depth - 1 else lambda t: t)
        fuse(f"{x}.attn.qkv", f"{d}.attn.to_q", f"{d}.attn.to_k", f"{d}.attn.to_v")
        copy(f"{x}.attn.ln_q", f"{d}.attn.norm_q")
        copy(f"{x}.attn.ln_k", f"{d}.attn.norm_k")
        copy(f"{x}.attn.proj", f"{d}.attn.to_out.0")
        if f"{d}.attn2.to_q.weight" in state:
            fuse(f"{x}.attn2.qkv", f"{d}.attn2.to_q", f"{d}.attn2.to_k", f"{d}.attn2.to_v")
            copy(f"{x}.attn2.ln_q", f"{d}.attn2.norm_q")
            copy(f"{x}.attn2.ln_k", f"{d}.attn2.norm_k")
            copy(f"{x}.attn2.proj", f"{d}.attn2.to_out.0")
        copy(f"{x}.mlp.fc1", f"{d}.ff.net.0.proj")
        copy(f"{x}.mlp.fc2", f"{d}.ff.net.2")
        copy(f"{x}.adaLN_modulation.1", f"{d}.norm1.linear")
    copy("final_layer.linear", "proj_out")
    copy("final_layer.adaLN_modulation.1", "norm_out.linear", swapped)
    return out


def flux_original(state, depth, single):
    out = {}

    def copy(left, right, change=lambda t: t):
        for end in ("weight", "bias"):
            if f"{right}.{end}" in state:
                out[f"{left}.{end}"] = change(state[f"{right}.{end}"])

    def fuse(left, *rights):
        for end in ("weight", "bias"):
            out[f"{left}.{end}"] = torch.cat([state[f"{right}.{end}"] for right in rights])

    copy("img_in", "x_embedder")
    copy("txt_in", "context_embedder")
    for left, right in (("time_in", "timestep_embedder"), ("vector_in", "text_embedder"), ("guidance_in", "guidance_embedder")):
        copy(f"{left}.in_layer", f"time_text_embed.{right}.linear_1")
        copy(f"{left}.out_layer", f"time_text_embed.{right}.linear_2")
    for n in range(depth):
        l, d = f"double_blocks.{n}", f"transformer_blocks.{n}"
        for s, norm, q, qk, to, ff in (
            ("img", "norm1", ("to_q", "to_k", "to_v"), ("norm_q", "norm_k"), "to_out.0", "ff"),
            ("txt", "norm1_context", ("add_q_proj", "add_k_proj", "add_v_proj"), ("norm_added_q", "norm_added_k"), "to_add_out", "ff_context"),
        ):
            copy(f"{l}.{s}_mod.lin", f"{d}.{norm}.linear")
            fuse(f"{l}.{s}_attn.qkv", *(f"{d}.attn.{name}" for name in q))
            out[f"{l}.{s}_attn.norm.query_norm.scale"] = state[f"{d}.attn.{qk[0]}.weight"]
            out[f"{l}.{s}_attn.norm.key_norm.scale"] = state[f"{d}.attn.{qk[1]}.weight"]
            copy(f"{l}.{s}_attn.proj", f"{d}.attn.{to}")
            copy(f"{l}.{s}_mlp.0", f"{d}.{ff}.net.0.proj")
            copy(f"{l}.{s}_mlp.2", f"{d}.{ff}.net.2")
    for n in range(single):
        l, d = f"single_blocks.{n}", f"single_transformer_blocks.{n}"
        fuse(f"{l}.linear1", f"{d}.attn.to_q", f"{d}.attn.to_k", f"{d}.attn.to_v", f"{d}.proj_mlp")
        copy(f"{l}.linear2", f"{d}.proj_out")
        copy(f"{l}.modulation.lin", f"{d}.norm.linear")
        out[f"{l}.norm.query_norm.scale"] = state[f"{d}.attn.norm_q.weight"]
        out[f"{l}.norm.key_norm.scale"] = state[f"{d}.attn.norm_k.weight"]
    copy("final_layer.linear", "proj_out")
    copy("final_layer.adaLN_modulation.1", "norm_out.linear", swapped)
    return out


def main(target):
    for seed, (name, (cls, config)) in enumerate(MODELS.items(), start=31):
        generator = torch.Generator().manual_seed(seed)
        model = cls(**config).eval()
        randomise(model, generator)
        context = torch.randn(2, 5, config["joint_attention_dim"], generator=generator)
        pooled = torch.randn(2, config["pooled_projection_dim"], generator=generator)
        if cls is SD3Transformer2DModel:
            x = torch.randn(2, 3, 10, 14, generator=generator)
            t = torch.tensor([903.25, 31.5])
            given = dict(hidden_states=x)
            original = sd3_original(model.state_dict(), config["num_layers"])
        else:
            x = torch.randn(2, 6, config["in_channels"], generator=generator)  # 2 rows of 3 patches
            t = torch.tensor([0.875, 0.0625])
            ids = torch.tensor([[0, r, c] for r in range(2) for c in range(3)], dtype=torch.float32)
            given = dict(hidden_states=x, img_ids=ids, txt_ids=torch.zeros(5, 3))
            if config.get("guidance_embeds"):
                given["guidance"] = torch.tensor([3.5, 1.25])
            original = flux_original(model.state_dict(), config["num_layers"], config["num_single_layers"])
        given.update(encoder_hidden_states=context, pooled_projections=pooled, timestep=t)
        with torch.no_grad():
            out = model(**given).sample
        assert sum(t.numel() for t in original.values()) == sum(t.numel() for t in model.state_dict().values())
        folder = Path(target) / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({**model.config}, indent=1) + "\n")
        save_file({key: value.contiguous() for key, value in original.items()}, folder / "model.safetensors")
        save_file({**{f"in.{key}": value for key, value in given.items()}, "out.sample": out.contiguous()}, folder / "io.safetensors")
        origin = {
            "class": cls.__name__,
            "origin": f"diffusers {diffusers.__version__}, torch {torch.__version__}; weights in the original single file's layout",
            "script": "tooling/golden/scripts/mmdit.py",
            "seed": seed,
        }
        (folder / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
        print(name, sum(p.numel() for p in model.parameters()), out.std().item())


if __name__ == "__main__":
    main(sys.argv[1])
