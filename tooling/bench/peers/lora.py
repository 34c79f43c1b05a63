"""diffusers' LoRA step (its script train_text_to_image_lora.py, on latent images that are encoded already), for `pnpm bench:lora`.

The task is the JSON of the first argument.
"""

import json
import sys

from contestant import absent, serve

sys.path.pop(0)  # torchvision looks for a package pytorch, and would find the file of this folder.

try:
    import diffusers
    import torch
    from diffusers import DDPMScheduler, UNet2DConditionModel
    from peft import LoraConfig
except Exception as error:  # Whatever keeps them from loading is what there is to say.
    absent(f"Python without PyTorch, diffusers and peft ({error})")

task = json.loads(sys.argv[1])
torch.set_num_threads(2)
torch.manual_seed(0)
state = {}
side, batch = task["latent"], task["batch"]
latents = torch.randn(batch, 4, side, side)
context = torch.randn(batch, 77, 768)
noise_scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)


def load():
    unet = UNet2DConditionModel.from_pretrained(task["folder"], torch_dtype=torch.float32, use_safetensors=True)
    unet.requires_grad_(False)
    targets = ["to_k", "to_q", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=task["rank"], lora_alpha=task["rank"], init_lora_weights="gaussian", target_modules=targets))
    if task["checkpointing"]:
        unet.enable_gradient_checkpointing()
    unet.train()
    params = [p for p in unet.parameters() if p.requires_grad]
    state.update(unet=unet, params=params, optimizer=torch.optim.AdamW(params, lr=1e-4, weight_decay=1e-2))


def step():
    unet, params, optimizer = state["unet"], state["params"], state["optimizer"]
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, 1000, (batch,))
    noisy = noise_scheduler.add_noise(latents, noise, timesteps)
    prediction = unet(noisy, timesteps, context, return_dict=False)[0]
    loss = torch.nn.functional.mse_loss(prediction, noise)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad()


serve("diffusers", diffusers.__version__, {"load": load, "step": step})
