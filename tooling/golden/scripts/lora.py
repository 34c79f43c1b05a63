"""LoRA files of every layout on tiny Stable Diffusion models, merged by diffusers and peft, for packages/weights/test.

diffusers 0.42.1 merges kohya's attention layers with the alpha that most layers have, whatever their own is (the name of
an alpha of `attn1.processor.to_q_lora` meets no layer); here they have it, and other layers have their own.

Weights are drawn by torch's generator from the seeds in the fixture, tensor after tensor in the order that it lists, so
that it need hold names, shapes and, of each merged weight, two numbers: its sum and its product with cos(0.7 k).
Needs torch, diffusers, transformers, peft and safetensors.
Run: python tooling/golden/scripts/lora.py packages/weights/test/fixtures/golden/lora.json
"""

import json
import sys
import tempfile
from pathlib import Path

import diffusers
import peft
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

UNET = dict(in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4, block_out_channels=[8, 16])
SD = dict(
    **UNET,
    down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
    cross_attention_dim=12,
    attention_head_dim=2,
)
SDXL = dict(
    **UNET,
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
    cross_attention_dim=20,
    attention_head_dim=[2, 4],
    transformer_layers_per_block=[1, 2],
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=4,
    projection_class_embeddings_input_dim=32,
)
CLIP = dict(vocab_size=20, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=8)


def draw(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def shapes_of(model):
    state = model.state_dict()
    return {name: list(state[name].shape) for name in sorted(state) if not name.endswith("position_ids")}


def models_of(kind):
    """The parts that a LoRA changes, by the names of a pipeline."""
    if kind == "sd":
        return {
            "unet": UNet2DConditionModel(**SD),
            "text_encoder": CLIPTextModel(CLIPTextConfig(hidden_size=12, **CLIP)),
        }
    return {
        "unet": UNet2DConditionModel(**SDXL),
        "text_encoder": CLIPTextModel(CLIPTextConfig(hidden_size=12, **CLIP)),
        "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=8, projection_dim=8, **CLIP)),
    }


def pipeline_of(kind):
    models = models_of(kind)
    for seed, model in enumerate(models.values(), start=1):
        model.load_state_dict(draw(shapes_of(model), seed), strict=False)
    rest = dict(vae=AutoencoderKL(block_out_channels=[32]), scheduler=DDIMScheduler(), tokenizer=None)
    if kind == "sd":
        return StableDiffusionPipeline(**models, **rest, safety_checker=None, feature_extractor=None)
    return StableDiffusionXLPipeline(**models, **rest, tokenizer_2=None)


# Layers by what they are called in the models.
T0 = "down_blocks.0.attentions.0.transformer_blocks.0"
UNET_LAYERS = [
    f"{T0}.attn1.to_q", f"{T0}.attn1.to_out.0", f"{T0}.attn2.to_k", f"{T0}.attn2.to_v", f"{T0}.ff.net.0.proj", f"{T0}.ff.net.2",
    "down_blocks.0.attentions.0.proj_in", "mid_block.attentions.0.proj_out", "up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_q",
]
CONVOLUTIONS = [
    "conv_in", "conv_out", "down_blocks.0.resnets.0.conv1", "down_blocks.0.resnets.0.time_emb_proj", "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks.0.downsamplers.0.conv", "up_blocks.0.upsamplers.0.conv", "mid_block.resnets.1.conv2", "time_embedding.linear_1", "time_embedding.linear_2",
]
TEXT_LAYERS = [
    "text_model.encoder.layers.0.self_attn.q_proj", "text_model.encoder.layers.0.self_attn.out_proj",
    "text_model.encoder.layers.1.self_attn.k_proj", "text_model.encoder.layers.1.self_attn.v_proj",
    "text_model.encoder.layers.0.mlp.fc1", "text_model.encoder.layers.1.mlp.fc2",
]
# kohya's names on SDXL are those of the original UNet.
B = "input_blocks_3_1_transformer_blocks_1"
SGM = {
    "input_blocks_0_0": "conv_in", "out_2": "conv_out", "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    "input_blocks_2_0_op": "down_blocks.0.downsamplers.0.conv", "input_blocks_3_0_skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks_3_0_emb_layers_1": "down_blocks.1.resnets.0.time_emb_proj", "input_blocks_3_1_proj_in": "down_blocks.1.attentions.0.proj_in",
    f"{B}_attn1_to_out_0": "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_out.0",
    f"{B}_attn2_to_k": "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k",
    f"{B}_ff_net_0_proj": "down_blocks.1.attentions.0.transformer_blocks.1.ff.net.0.proj",
    "middle_block_0_out_layers_3": "mid_block.resnets.0.conv2", "middle_block_1_transformer_blocks_0_attn1_to_v": "mid_block.attentions.0.transformer_blocks.0.attn1.to_v",
    "output_blocks_1_1_transformer_blocks_0_attn2_to_q": "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_q",
    "output_blocks_1_2_conv": "up_blocks.0.upsamplers.0.conv", "output_blocks_3_0_in_layers_2": "up_blocks.1.resnets.1.conv1",
    "time_embed_0": "time_embedding.linear_1", "time_embed_2": "time_embedding.linear_2",
    "label_emb_0_0": "add_embedding.linear_1", "label_emb_0_2": "add_embedding.linear_2",
}


def weight_of(model, layer):
    """The shape of a layer's weight; transformers 5 writes no text_model."""
    state = model.state_dict()
    return list(state.get(f"{layer}.weight", state.get(f"{layer.removeprefix('text_model.')}.weight")).shape)


def pair(model, layer, rank):
    out, *rest = weight_of(model, layer)
    return [rank, *rest], [out, rank, *([1] * (len(rest) - 1))]


def files(kind, models):
    """Layouts of a kind of model: name -> (shapes, alphas, notes)."""
    unet = models["unet"]
    text = {key: model for key, model in models.items() if key != "unet"}
    shapes, alphas = {}, {}

    def put(model, layer, name, down, up, rank, alpha=None):
        shapes[name + down], shapes[name + up] = pair(model, layer, rank)
        if alpha is not None:
            alphas[f"{name}.alpha"] = alpha

    kohya = (".lora_down.weight", ".lora_up.weight")
    result = {}
    if kind == "sd":
        for i, layer in enumerate(UNET_LAYERS + CONVOLUTIONS):
            put(unet, layer, "lora_unet_" + layer.replace(".", "_"), *kohya, rank=1 + i % 3, alpha=1.0 if ".attn" in layer else [2.0, 0.5, 1.0, 3.0][i % 4])
        for i, layer in enumerate(TEXT_LAYERS):
            put(text["text_encoder"], layer, "lora_te_" + layer.replace(".", "_"), *kohya, rank=2, alpha=1.0)
        result["kohya"] = (shapes, alphas, None)

        shapes, alphas = {}, {}
        for layer in UNET_LAYERS:
            put(unet, layer, f"unet.{layer}", ".lora.down.weight", ".lora.up.weight", rank=2)
        for layer in TEXT_LAYERS:
            put(text["text_encoder"], layer, f"text_encoder.{layer}", ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", rank=3)
        result["diffusers"] = (shapes, alphas, None)

        shapes, alphas = {}, {}
        for layer in UNET_LAYERS:
            if ".attn" in layer:
                head, name = layer.removesuffix(".0").rsplit(".", 1)
                put(unet, layer, f"unet.{head}.processor.{name}", "_lora.down.weight", "_lora.up.weight", rank=2)
        old = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
        for layer in TEXT_LAYERS[:4]:
            head, name = layer.rsplit(".", 1)
            put(text["text_encoder"], layer, f"text_encoder.{head}.{old[name]}", "_lora.down.weight", "_lora.up.weight", rank=1)
        result["diffusers-2023"] = (shapes, alphas, None)

        shapes, alphas = {}, {}
        for i, layer in enumerate(UNET_LAYERS + CONVOLUTIONS[:3]):
            put(unet, layer, f"unet.{layer}", ".lora_A.weight", ".lora_B.weight", rank=4 if i == 1 else 2)
        result["peft"] = (shapes, alphas, None)
        notes = {
            "unet.r": 2, "unet.lora_alpha": 3, "unet.rank_pattern": {UNET_LAYERS[1]: 4},
            "unet.alpha_pattern": {UNET_LAYERS[1]: 7, "attn2.to_k": 0.5, "^conv_in": 5}, "unet.target_modules": UNET_LAYERS + CONVOLUTIONS[:3],
        }
        result["peft-noted"] = (shapes, alphas, notes)
        result["peft-rslora"] = (shapes, alphas, {**notes, "unet.use_rslora": True})

        shapes, alphas = {}, {}
        for layer in UNET_LAYERS[:6] + CONVOLUTIONS[2:5]:
            put(unet, layer, f"unet.{layer}", ".lora_A.weight", ".lora_B.weight", rank=2)
            out, *rest = weight_of(unet, layer)
            shapes[f"unet.{layer}.lora_magnitude_vector"] = [out] if len(rest) == 1 else [1, out, 1, 1]
        result["peft-dora"] = (shapes, alphas, None)
    else:
        for i, (name, layer) in enumerate(SGM.items()):
            put(unet, layer, f"lora_unet_{name}", *kohya, rank=1 + i % 3, alpha=1.0 if ".attn" in layer else [1.0, 0.25, 2.0][i % 3])
        for key, prefix in (("text_encoder", "lora_te1_"), ("text_encoder_2", "lora_te2_")):
            for layer in TEXT_LAYERS:
                put(text[key], layer, prefix + layer.replace(".", "_"), *kohya, rank=2, alpha=3.0)
        put(text["text_encoder_2"], "text_projection", "lora_te2_text_projection", *kohya, rank=2, alpha=3.0)
        result["kohya-sdxl"] = (shapes, alphas, None)
        shapes, alphas = {}, {}
        layers = ["down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q", "up_blocks.0.attentions.0.proj_out", "mid_block.attentions.0.transformer_blocks.1.ff.net.2"]
        for layer in layers:
            put(unet, layer, f"unet.{layer}", ".lora_A.weight", ".lora_B.weight", rank=2)
        for key in text:
            for layer in TEXT_LAYERS:
                put(text[key], layer, f"{key}.{layer}", ".lora_A.weight", ".lora_B.weight", rank=2)
        result["peft-sdxl"] = (shapes, alphas, None)
    return result


def lora_file(folder, name, seed, shapes, alphas, notes):
    tensors = {**draw(shapes, seed), **{key: torch.tensor(value) for key, value in alphas.items()}}
    path = Path(folder) / f"{name}.safetensors"
    save_file(tensors, path, {"format": "pt", **({"lora_adapter_metadata": json.dumps(notes)} if notes else {})})
    return path


def merged(kind, loras):
    """All weights after fuse_lora, by part."""
    pipe = pipeline_of(kind)
    before = {part: {k: v.clone() for k, v in getattr(pipe, part).state_dict().items()} for part in models_of(kind)}
    for i, (path, _) in enumerate(loras):
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=f"a{i}")
    names = [f"a{i}" for i in range(len(loras))]
    parts = [part for part in before if getattr(getattr(pipe, part), "peft_config", None)]
    if len(loras) == 1:
        pipe.fuse_lora(components=parts, lora_scale=loras[0][1])
    else:
        pipe.set_adapters(names, [scale for _, scale in loras])
        pipe.fuse_lora(components=parts, adapter_names=names)
    after = {}
    for part in parts:
        state = getattr(pipe, part).state_dict()
        for name, tensor in state.items():
            plain = name.replace(".base_layer", "")
            if ".lora_" not in name and not torch.equal(before[part][plain], tensor):
                after.setdefault(part, {})[plain] = tensor
    return after


def probes(tensor):
    flat = tensor.double().flatten()
    return [flat.sum().item(), (flat * torch.cos(0.7 * torch.arange(len(flat), dtype=torch.float64))).sum().item()]


def main(target):
    versions = f"diffusers {diffusers.__version__}, peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
    golden = {"origin": f"tooling/golden/scripts/lora.py: {versions}", "models": {}, "files": {}, "merged": {}}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for kind in ("sd", "sdxl"):
            models = models_of(kind)
            golden["models"][kind] = {part: {"seed": seed, "shapes": shapes_of(model)} for seed, (part, model) in enumerate(models.items(), start=1)}
            for i, (name, (shapes, alphas, notes)) in enumerate(files(kind, models).items()):
                seed = 100 + i
                paths[name] = lora_file(folder, name, seed, shapes, alphas, notes)
                golden["files"][name] = {"seed": seed, "shapes": shapes, "alphas": alphas, **({"notes": notes} if notes else {})}
        cases = [("sd", [(name, 0.7)]) for name in ("kohya", "diffusers", "diffusers-2023", "peft", "peft-noted", "peft-rslora", "peft-dora")]
        cases += [("sdxl", [(name, 1.5)]) for name in ("kohya-sdxl", "peft-sdxl")]
        cases += [("sd", [("kohya", 0.6), ("peft-noted", -0.4)])]
        for kind, loras in cases:
            name = " + ".join(f"{file} {scale}" for file, scale in loras)
            after = merged(kind, [(paths[file], scale) for file, scale in loras])
            golden["merged"][name] = {"model": kind, "loras": loras, "parts": {part: {key: probes(t) for key, t in tensors.items()} for part, tensors in after.items()}}
            print(name, {part: len(ts) for part, ts in after.items()})
    Path(target).write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
