"""Outputs of diffusers' UNets in every setting that we build, for packages/unet/test/fixtures/settings.json.

Weights and inputs are drawn by torch's generator from the seed of each case, weights in the order of their names, so that
the fixture holds settings and outputs only. Needs torch and diffusers.
Run: python tooling/golden/scripts/unet_settings.py packages/unet/test/fixtures/settings.json
"""

import hashlib
import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import UNet2DConditionModel, UNet2DModel

PLAIN = dict(in_channels=2, out_channels=2, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4)
THREE = dict(block_out_channels=[8, 16, 16])
CONDITION = dict(
    **PLAIN,
    down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
    cross_attention_dim=12,
    attention_head_dim=2,
)
THREE_CONDITION = dict(
    **THREE,
    down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
)
VECTOR = dict(projection_class_embeddings_input_dim=6)
XL = dict(addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=34)
IF_BLOCKS = dict(
    down_block_types=["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
    up_block_types=["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
    mid_block_type="UNetMidBlock2DSimpleCrossAttn",
    attention_head_dim=4,
)
# All settings of DeepFloyd IF's published config.json files.
IF = dict(
    IF_BLOCKS,
    act_fn="gelu",
    addition_embed_type="text",
    addition_embed_type_num_heads=2,
    cross_attention_dim=32,
    cross_attention_norm="group_norm",
    encoder_hid_dim=10,
    encoder_hid_dim_type="text_proj",
    mid_block_scale_factor=1.4142,
    resnet_out_scale_factor=1.4142,
    resnet_skip_time_act=True,
    resnet_time_scale_shift="scale_shift",
    time_embedding_act_fn="gelu",
)
UNET = dict(
    **PLAIN,
    down_block_types=["DownBlock2D", "AttnDownBlock2D"],
    up_block_types=["AttnUpBlock2D", "UpBlock2D"],
    attention_head_dim=4,
)
SCALE_SHIFT = dict(resnet_time_scale_shift="scale_shift")

CASES = {
    "UNet2DConditionModel": (CONDITION, {
        "classes by number": dict(class_embed_type="timestep"),
        "classes as they are": dict(class_embed_type="identity"),
        "classes through two maps": dict(class_embed_type="projection", **VECTOR),
        "classes through one map": dict(class_embed_type="simple_projection", **VECTOR),
        "classes beside the time": dict(class_embed_type="timestep", class_embeddings_concat=True),
        "a type of classes goes before a table": dict(class_embed_type="projection", num_class_embeds=7, **VECTOR),
        "a table and SDXL's conditions": dict(XL, num_class_embeds=5),
        "classes by number and SDXL's conditions": dict(XL, class_embed_type="timestep"),
        "no middle": dict(mid_block_type=None),
        "a middle of one residual block": dict(mid_block_type="UNetMidBlock2D"),
        "a middle with a scale": dict(mid_block_scale_factor=1.4142),
        "depth by transformer, another on the way up": dict(
            THREE_CONDITION,
            transformer_layers_per_block=[[1], [2], [1]],
            reverse_transformer_layers_per_block=[[1, 1], [2, 1], [1, 3]],
        ),
        "another depth on the way up": dict(
            THREE_CONDITION, transformer_layers_per_block=[1, 2, 3], reverse_transformer_layers_per_block=[2, 1, 3]
        ),
        "width of the context by level": dict(THREE_CONDITION, cross_attention_dim=[12, 12, 12], only_cross_attention=[False, True, False]),
        "only cross-attention": dict(only_cross_attention=True),
        "scale and shift": SCALE_SHIFT,
        "scale and shift around mish": dict(SCALE_SHIFT, act_fn="mish"),
        "embedded guidance": dict(time_cond_proj_dim=10),
        "embedded guidance and SDXL's conditions": dict(XL, time_cond_proj_dim=6),
        "a first kernel of one pixel": dict(conv_in_kernel=1),
        "a first kernel of five": dict(conv_in_kernel=5),
        "a last kernel of one": dict(conv_out_kernel=1),
        "centred input": dict(center_input_sample=True),
        "gelu": dict(act_fn="gelu"),
        "mish": dict(act_fn="mish"),
        "swish": dict(act_fn="swish"),
        "relu": dict(act_fn="relu"),
        "text through a map": dict(encoder_hid_dim=10, encoder_hid_dim_type="text_proj"),
        "text through a map, without saying so": dict(encoder_hid_dim=10),
        "uneven padding": dict(downsample_padding=0),
        "random frequencies": dict(time_embedding_type="fourier"),
        "random frequencies, another width": dict(time_embedding_type="fourier", time_embedding_dim=20, class_embed_type="timestep"),
        "another width of the time": dict(time_embedding_dim=20),
        "an activation of all embeddings": dict(time_embedding_act_fn="silu"),
        "an activation after the time's maps": dict(timestep_post_act="gelu"),
        "half a shift of frequencies": dict(freq_shift=0.5),
        "settings of blocks that are not there": dict(
            resnet_skip_time_act=True, resnet_out_scale_factor=2.0, cross_attention_norm="group_norm"
        ),
        "names of old blocks": dict(down_block_types=["CrossAttnDownBlock2D", "UNetResDownBlock2D"]),
        "heads by level that leave odd widths": dict(block_out_channels=[12, 20], attention_head_dim=[3, 5]),
        "IF's attention": IF_BLOCKS,
        "IF's attention to the text alone": dict(IF_BLOCKS, only_cross_attention=True),
        "IF's attention to the text alone, but in the middle": dict(IF_BLOCKS, only_cross_attention=True, mid_block_only_cross_attention=False),
        "IF's attention to the text alone at one level": dict(IF_BLOCKS, only_cross_attention=[False, True]),
        "IF's attention, norm of each token": dict(IF_BLOCKS, cross_attention_dim=16, encoder_hid_dim=10, cross_attention_norm="layer_norm"),
        "IF's attention, heads by level": dict(
            IF_BLOCKS, down_block_types=["SimpleCrossAttnDownBlock2D"] * 2, up_block_types=["SimpleCrossAttnUpBlock2D"] * 2, attention_head_dim=[2, 8]
        ),
        "IF's blocks and others": dict(
            IF_BLOCKS,
            down_block_types=["SimpleCrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
            attention_head_dim=[4, 2],
            resnet_skip_time_act=True,
            resnet_out_scale_factor=2.0,
        ),
        "residual blocks between levels": dict(
            down_block_types=["CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"], up_block_types=["ResnetUpsampleBlock2D", "CrossAttnUpBlock2D"]
        ),
        "IF, stage I": IF,
        "IF, stage II": dict(IF, class_embed_type="timestep", only_cross_attention=True),
        "pooled text": dict(addition_embed_type="text", addition_embed_type_num_heads=3),
        "one level": dict(block_out_channels=[8], down_block_types=["CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D"]),
    }),
    "UNet2DModel": (UNET, {
        "one head": dict(attention_head_dim=None),
        "scale and shift: no norm in the middle": SCALE_SHIFT,
        "scale and shift, groups in the middle": dict(SCALE_SHIFT, attn_norm_num_groups=2),
        "groups in the middle": dict(attn_norm_num_groups=8),
        "gelu": dict(act_fn="gelu"),
        "random frequencies": dict(time_embedding_type="fourier"),
        "random frequencies, classes by number": dict(time_embedding_type="fourier", class_embed_type="timestep"),
        "another width of the time": dict(time_embedding_dim=20),
        "classes by number": dict(class_embed_type="timestep"),
        "classes as they are": dict(class_embed_type="identity"),
        "a table": dict(num_class_embeds=5),
        "no middle": dict(mid_block_type=None),
        "no attention in the middle": dict(add_attention=False),
        "residual blocks between levels": dict(
            down_block_types=["ResnetDownsampleBlock2D", "AttnDownBlock2D"], up_block_types=["AttnUpBlock2D", "ResnetUpsampleBlock2D"]
        ),
        "consistency models": dict(
            THREE,
            down_block_types=["ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
            up_block_types=["AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"],
            downsample_type="resnet",
            upsample_type="resnet",
            attn_norm_num_groups=4,
            num_class_embeds=5,
            **SCALE_SHIFT,
        ),
    }),
}


def randomise(model, generator):
    for name, p in sorted(model.named_parameters()):
        n = torch.randn(p.shape, generator=generator)
        if p.ndim > 1:
            p.data = 0.7 * n / p[0].numel() ** 0.5
        else:
            p.data = 1 + 0.1 * n if "norm" in name and name.endswith("weight") else 0.1 * n


def inputs(config, generator):
    """What a model takes, in the order in which it is drawn."""
    size = [2, 2, 4, 4]
    drawn = {"sample": torch.randn(size, generator=generator)}
    if "cross_attention_dim" in config:
        drawn["encoder_hidden_states"] = torch.randn([2, 3, config.get("encoder_hid_dim") or 12], generator=generator)
    kind = config.get("class_embed_type")
    width = config.get("time_embedding_dim") or 4 * config["block_out_channels"][0]
    if kind == "timestep":
        drawn["class_labels"] = torch.tensor([3.0, 500.0])
    elif kind is not None:
        drawn["class_labels"] = torch.randn([2, 6 if kind.endswith("projection") else width], generator=generator)
    elif config.get("num_class_embeds"):
        drawn["class_labels"] = torch.tensor([1, 4])
    if config.get("time_cond_proj_dim"):
        drawn["timestep_cond"] = torch.randn([2, config["time_cond_proj_dim"]], generator=generator)
    if config.get("addition_embed_type") == "text_time":
        drawn["text_embeds"] = torch.randn([2, 10], generator=generator)
        drawn["time_ids"] = torch.tensor([[64.0, 48, 0, 8, 64, 64], [1024, 768, 16, 0, 1024, 1024]])
    return drawn


def case(model_class, config, seed):
    generator = torch.Generator().manual_seed(seed)
    model = model_class(**config).eval()
    randomise(model, generator)
    drawn = inputs(config, generator)
    added = {key: drawn.pop(key) for key in ("text_embeds", "time_ids") if key in drawn}
    with torch.no_grad():
        out = model(timestep=torch.tensor([7, 901]), **drawn, **({"added_cond_kwargs": added} if added else {})).sample
    tensors = "".join(f"{name} {','.join(map(str, p.shape))}\n" for name, p in sorted(model.state_dict().items()))
    return {
        "seed": seed,
        "tensors": hashlib.sha256(tensors.encode()).hexdigest(),
        "out": [float(f"{x:.7g}") for x in out.permute(0, 2, 3, 1).flatten().tolist()],
    }


def main(target):
    origin = f"diffusers {diffusers.__version__}, torch {torch.__version__}: tooling/golden/scripts/unet_settings.py"
    golden = {"origin": origin, "note": "out: [N, H, W, C] in rows; tensors: SHA-256 of sorted names and shapes"}
    for name, (base, cases) in CASES.items():
        golden[name] = {
            title: {"config": change, **case(getattr(diffusers, name), {**base, **change}, seed)}
            for seed, (title, change) in enumerate(cases.items(), start=1)
        }
    golden["base"] = {name: base for name, (base, _) in CASES.items()}
    Path(target).write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
