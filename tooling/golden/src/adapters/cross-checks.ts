import { Param, type RandomStream } from '@mezzotint/core';
import { clamped, denoiser, logSnrSchedule, logSnrTime, shiftedCosineLogSnr, vPrediction } from '@mezzotint/schedulers';
import { cosineLevels, minSnr, vLoss } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter, NamedTensors } from '../adapter.js';
import { toChannelsFirst, toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';
import { DiS, type DiSConfig } from '../references/dis.js';
import { LucidrainsUViT, type LucidrainsUViTConfig } from '../references/lucidrains-uvit.js';

/** DiS: ZigMa's bidirectional mixer in another network. */
export const dis: Adapter<DiS> = {
  classes: ['DisModel'],
  build: (config) => new DiS(config as DiSConfig),
  run: (model, inputs) => ({
    out: toChannelsFirst(
      model.forward(toChannelsLast(input(inputs, 'x')), input(inputs, 'timesteps'), input(inputs, 'y')),
    ),
  }),
};

/** Pixels of the golden's process, and of the size whose noise it has. */
const size = { imageSize: 64, noiseSize: 32 };
const steps = 5;

/** lucidrains' U-ViT: its output, gradients and loss by our v-loss and min-SNR weights, its sampler by our DDPM. */
export const lucidrainsUViT: Adapter<LucidrainsUViT> = {
  classes: ['UViT'],
  // Bao et al.'s has a class of the same name.
  accepts: (config) => Object.hasOwn(config as object, 'dim_mults'),
  build: (config) => new LucidrainsUViT(config as LucidrainsUViTConfig),
  run(model, inputs) {
    const [x, weight] = [toChannelsLast(input(inputs, 'x')), toChannelsLast(input(inputs, 'weight'))];
    const forward = (x: tf.Tensor) => model.forward(x as tf.Tensor4D, input(inputs, 'log_snr'));
    const param = model.params().get('time_mlp.1.weight')!;
    const sum = (x: tf.Tensor, value: tf.Tensor) =>
      Param.substituteAll([[param, value]], () => tf.sum(tf.mul(weight, forward(x))));
    const [gradX, gradWeight] = tf.grads(sum)([x, param.value]);
    return {
      out: toChannelsFirst(forward(x)),
      grad_x: toChannelsFirst(gradX!),
      'grad_time_mlp.1.weight': gradWeight!,
      loss: loss(model, inputs),
    };
  },
  sample: async (model, inputs) => ({ samples: await sampled(model, inputs) }),
};

/** v-prediction's loss of each image, weighted by min-SNR with gamma 5. The noise and the times are the golden's. */
function loss(model: LucidrainsUViT, inputs: NamedTensors): tf.Tensor1D {
  const times = [...input<tf.Tensor1D>(inputs, 't').dataSync()];
  const level = cosineLevels(size);
  const noise: RandomStream = {
    randn: () => toChannelsLast(input(inputs, 'noise')).dataSync<'float32'>(),
    rand: () => {
      throw new Error('the times are given');
    },
  };
  return vLoss((x, t) => model.forward(x, t), { x0: toChannelsLast(input(inputs, 'image')), cond: undefined }, noise, {
    // The network is told the log-SNR.
    levels: () => times.map((u) => ({ ...level(u), time: level(u).logSnr })),
    weight: minSnr(5).v,
  });
}

/**
 * x after each ancestral step with clamped estimates: our `ddpm`'s posterior, with the reference's coefficients in float32. There
 * 1 - c cancels at the first step (c = 1 - e^-12), by which `ddpm` itself, whose numbers are float64, is off by 5e-4.
 */
async function sampled(model: LucidrainsUViT, inputs: NamedTensors): Promise<tf.Tensor> {
  const curve = shiftedCosineLogSnr({ size: size.imageSize, reference: size.noiseSize });
  const { alpha, sigma, time } = logSnrSchedule(curve, steps, { final: 'curve', clock: logSnrTime });
  const estimate = clamped(denoiser<void>((x, t) => model.forward(x, t), vPrediction));
  const f32 = Math.fround;
  return tf.tidy(() => {
    let x = toChannelsLast(input(inputs, 'z'));
    const noises = tf.unstack(input(inputs, 'noises'));
    const all = Array.from({ length: steps }, (_, i) => {
      const at = { alpha: alpha[i]!, sigma: sigma[i]!, time: time![i]! };
      const x0 = estimate(x, at, undefined);
      const c = f32(-Math.expm1(f32(f32(time![i]!) - f32(time![i + 1]!))));
      const mean = tf.add(tf.mul(x, (alpha[i + 1]! * f32(1 - c)) / at.alpha), tf.mul(x0, alpha[i + 1]! * c));
      const deviation = i + 1 < steps ? sigma[i + 1]! * Math.sqrt(c) : 0;
      x = tf.add(mean, tf.mul(toChannelsLast(noises[i]!), deviation)) as tf.Tensor4D;
      return toChannelsFirst(x);
    });
    return tf.stack(all);
  });
}
