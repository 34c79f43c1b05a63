import { useBackend } from '@mezzotint/backend';
import { deriveSeed, TorchGenerator } from '@mezzotint/core';
import { processOf } from '@mezzotint/schedulers';
import {
  adamW,
  checkpointGradients,
  constantRate,
  denoisingLoss,
  LoraAdapter,
  noiseLevels,
  train,
  uniformTimesteps,
} from '@mezzotint/training';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { readJson, readWeights } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { once, serve } from '../serve.js';
import type { LoraTask } from './main.js';

// One side of `pnpm bench:lora`: a LoRA step of Stable Diffusion's UNet on latent images that are encoded already.

const task = JSON.parse(process.argv[2]!) as LoraTask;

await serve(async () => {
  const { version } = await useBackend({ engine: 'onnxruntime' });
  const unet = new UNet2DCondition(unet2dConditionFromDiffusers(readJson(`${task.folder}/config.json`)));
  let updates: AsyncGenerator<{ readonly loss: number }> | undefined;
  const load = async () => {
    const weights = await readWeights(`${task.folder}/diffusion_pytorch_model.safetensors`);
    await unet.load(weights);
    weights.close();
    const lora = new LoraAdapter(unet, { rank: task.rank, targets: ['*attn*'] }).init(deriveSeed(0, 'lora'));
    if (task.checkpointing) {
      const blocks = ['down_blocks', 'up_blocks'].flatMap((at) => [`${at}.*.resnets.*`, `${at}.*.attentions.*`]);
      checkpointGradients(unet, blocks, { trained: new Set() });
    }
    const levels = noiseLevels(uniformTimesteps(processOf({ betas: 'scaled-linear', steps: 1000 })));
    const { latent, batch } = task;
    const rng = new TorchGenerator(0);
    const pictures = { x0: rng.randn(batch * latent * latent * 4), context: rng.randn(batch * 77 * 768) };
    updates = train({
      loss: ({ rng }) =>
        lora.apply(() =>
          denoisingLoss(
            'eps',
            (x, time, context: tf.Tensor3D) => unet.forward(x, time, { context }),
            {
              x0: tf.tensor4d(pictures.x0, [batch, latent, latent, 4]),
              cond: tf.tensor3d(pictures.context, [batch, 77, 768]),
            },
            rng,
            { levels },
          ),
        ),
      data: { next: async () => undefined },
      rng,
      optimizer: adamW(lora, { betas: [0.9, 0.999], weightDecay: 0.01 }),
      learningRate: constantRate(1e-4),
      maxGradientNorm: 1,
      until: 1_000_000,
    });
  };
  const step = async () => {
    const { value } = await updates!.next();
    if (!Number.isFinite((value as { readonly loss: number }).loss)) throw new Error('the loss is not finite');
  };
  return { name: 'mezzotint on onnxruntime', version, jobs: { load: once(load), step: once(step) } };
});
