"""More of diffusers' Stable Diffusion 3 and FLUX pipelines on the folders of sd3_flux.py: a prompt for each encoder, adapters, and
T5's vocabulary as llama.cpp writes it into a GGUF file.

Run: python tooling/golden/scripts/sd3_flux_more.py packages/pipelines/test/fixtures
Needs torch, diffusers, transformers, peft, safetensors and gguf; no network. Reads tiny-sd3 and tiny-flux-dev there; writes
sd3-flux-more.{json,safetensors} and flux-files/tiny-{dora,lokr}.safetensors, flux-files/tiny-t5-Q8_0.gguf.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import peft
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel, SD3Transformer2DModel, StableDiffusion3Pipeline
from peft import LoKrConfig, LoraConfig, inject_adapter_in_model
from safetensors.torch import save_file
from sd3_flux import PIECES, t5_tokenizer, unpacked
from stable_diffusion import Cases, tokenizer
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel


def load(kind, folder, part):
    return kind.from_pretrained(folder / part, torch_dtype=torch.float32).eval()


def adapted(folder, config, seed):
    """The transformer with an adapter of random factors merged into it, and the adapter's own tensors."""
    model = load(FluxTransformer2DModel, folder, "transformer")
    inject_adapter_in_model(config, model, "default")
    g = torch.Generator().manual_seed(seed)
    own = {}
    for name, p in model.named_parameters():
        if "lora" not in name and "lokr" not in name:
            continue
        n = torch.randn(p.shape, generator=g)
        p.data = (p.data.abs() * (1 + 0.3 * n) if "magnitude" in name else 0.25 * n).half().float()
        own[name] = p.data.clone()
    for module in model.modules():
        if hasattr(module, "merge") and hasattr(module, "base_layer"):
            module.merge()
    return model, own


def save_vocabulary(path, encoder):
    """A T5 encoder in llama.cpp's names, its vocabulary in the header, with rows behind it that no text leads to."""
    writer = gguf.GGUFWriter(path, arch="t5encoder")
    kinds = [gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN] + [gguf.TokenType.NORMAL] * (len(PIECES) - 3)
    writer.add_tokenizer_model("t5")
    writer.add_token_list([text.encode() for text, _ in PIECES] + [b"[PAD0]"])
    writer.add_token_scores([score for _, score in PIECES] + [-1000.0])
    writer.add_token_types([*kinds, gguf.TokenType.UNUSED])
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    names = {"SelfAttention.q": "attn_q", "SelfAttention.k": "attn_k", "SelfAttention.v": "attn_v", "SelfAttention.o": "attn_o", "SelfAttention.relative_attention_bias": "attn_rel_b", "0.layer_norm": "attn_norm", "DenseReluDense.wi_0": "ffn_gate", "DenseReluDense.wi_1": "ffn_up", "DenseReluDense.wo": "ffn_down", "1.layer_norm": "ffn_norm"}  # fmt: skip
    wide = {}
    for name, tensor in encoder.state_dict().items():
        if name == "encoder.embed_tokens.weight":
            wide[name] = wide["shared.weight"]
            continue
        data = tensor.float().numpy()
        kind = gguf.GGMLQuantizationType.Q8_0 if data.ndim == 2 and data.shape[1] % 32 == 0 else gguf.GGMLQuantizationType.F32
        packed = gguf.quantize(data, kind) if kind != gguf.GGMLQuantizationType.F32 else data
        if name == "shared.weight":
            theirs = "token_embd.weight"
        elif name == "encoder.final_layer_norm.weight":
            theirs = "enc.output_norm.weight"
        else:
            block = name.split(".")[2]
            short = next(to for of, to in names.items() if name.endswith(f"{of}.weight"))
            theirs = f"enc.blk.{block}.{short}.weight"
        writer.add_tensor(theirs, packed, raw_dtype=kind)
        wide[name] = torch.from_numpy(gguf.dequantize(packed, kind).astype(np.float32).reshape(data.shape).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return wide


def main(target):
    target = Path(target)
    cases = Cases()
    words = dict(prompt="a red cat on the dog", height=16, width=24)

    folder = target / "tiny-sd3"
    sd3 = StableDiffusion3Pipeline(
        transformer=load(SD3Transformer2DModel, folder, "transformer"), vae=load(AutoencoderKL, folder, "vae"),
        text_encoder=load(CLIPTextModelWithProjection, folder, "text_encoder"), text_encoder_2=load(CLIPTextModelWithProjection, folder, "text_encoder_2"),
        text_encoder_3=load(T5EncoderModel, folder, "text_encoder_3"), tokenizer=tokenizer(), tokenizer_2=tokenizer("!"), tokenizer_3=t5_tokenizer(512),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    three = dict(prompt_2="blue photo of the dog", prompt_3="the dog on the cat", negative_prompt="blue", negative_prompt_2="photo", negative_prompt_3="red dog")
    cases.run("sd3-three-prompts", sd3, 81, **words, **three, num_inference_steps=4, guidance_scale=5.0, max_sequence_length=64)
    cases.run("sd3-third-prompt", sd3, 82, **words, prompt_3="the dog", num_inference_steps=3, guidance_scale=4.0, max_sequence_length=64)

    folder = target / "tiny-flux-dev"
    clip, t5, vae = load(CLIPTextModel, folder, "text_encoder"), load(T5EncoderModel, folder, "text_encoder_2"), load(AutoencoderKL, folder, "vae")
    moved = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096)

    def flux(name, seed, transformer):
        pipe = FluxPipeline(transformer=transformer, vae=vae, text_encoder=clip, text_encoder_2=t5, tokenizer=tokenizer(), tokenizer_2=t5_tokenizer(512), scheduler=moved)
        cases.run(name, pipe, seed, **words, num_inference_steps=3, guidance_scale=3.5, max_sequence_length=64)
        unpacked(cases, name, 16, 24)

    files = target / "flux-files"
    layers = ["attn.to_q", "attn.to_k", "attn.add_v_proj", "proj_mlp", "ff.net.0.proj", "proj_out"]
    dora, own = adapted(folder, LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=layers), 83)
    rename = lambda name: "transformer." + name.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")  # noqa: E731
    # alpha is in the notes, as diffusers' save_lora_adapter has it.
    notes = {"lora_adapter_metadata": json.dumps({f"transformer.{key}": value for key, value in {"r": 2, "lora_alpha": 3, "use_dora": True, "target_modules": layers}.items()})}
    save_file({rename(k): v.half().contiguous() for k, v in own.items()}, files / "tiny-dora.safetensors", metadata={"format": "pt", **notes})
    flux("flux-dora", 83, dora)

    lokr, own = adapted(folder, LoKrConfig(r=2, alpha=2, target_modules=layers[:2] + layers[3:4], decompose_factor=4), 84)
    lycoris = {}
    for name, tensor in own.items():
        layer, factor = name.rsplit(".lokr_", 1)
        key = "lycoris_" + layer.replace(".", "_")
        lycoris[f"{key}.lokr_{factor.removesuffix('.default')}"] = tensor.half().contiguous()
        lycoris[f"{key}.alpha"] = torch.tensor(2.0)
    save_file(lycoris, files / "tiny-lokr.safetensors")
    flux("flux-lokr", 84, lokr)

    wide = save_vocabulary(files / "tiny-t5-Q8_0.gguf", t5)
    t5.load_state_dict(wide)
    flux("flux-t5-gguf", 85, load(FluxTransformer2DModel, folder, "transformer"))

    cases.keep_last()
    cases.write(target, "sd3-flux-more", "sd3_flux_more.py", "latents [1, N, C, h, w] after the last step; images [N, H, W, 3] in [0, 1]", peft)


if __name__ == "__main__":
    main(sys.argv[1])
