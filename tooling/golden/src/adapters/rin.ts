import type { NoiseLevel } from '@mezzotint/core';
import { classifierFree } from '@mezzotint/guidance';
import { RIN, type RINInputs, type RINOutput, rinFromOriginal, warmStarted } from '@mezzotint/rin';
import {
  clamped,
  customSchedule,
  ddim,
  ddpmLarge,
  denoiser,
  epsilon,
  type NoiseSource,
  sample,
} from '@mezzotint/schedulers';
import { rinKeyMap, translate } from '@mezzotint/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter, NamedTensors } from '../adapter.js';
import { input } from '../inputs.js';

/** pix2seq's RIN for images. Its tensors are NHWC. */
export const rin: Adapter<RIN> = {
  classes: ['ImageTapeDenoiser'],
  build: (config) => new RIN(rinFromOriginal(config)),
  translate: (source) => translate(source, rinKeyMap(source.tensors.keys(), 'right'), 'right'),
  run(model, inputs) {
    const { classes, tokenWidth } = model.config;
    const labels = classes === null ? {} : { labels: input<tf.Tensor1D>(inputs, 'y') };
    const [x, gamma] = [input<tf.Tensor4D>(inputs, 'x'), input<tf.Tensor1D>(inputs, 'gamma')];
    const pass = (given: RINInputs): RINOutput => model.pass(x, gamma, { ...labels, ...given });
    const first = pass({});
    const plain = { out: first.prediction, latent: first.latents, tape: first.tokens };
    if (classes === null) return plain;
    const second = pass({ previous: first });
    const given = {
      latents: input<tf.Tensor3D>(inputs, 'latent_prev'),
      tokens:
        (inputs.tape_prev as tf.Tensor3D) ?? tf.zeros<tf.Rank.R3>([x.shape[0], first.tokens.shape[1], tokenWidth]),
    };
    return {
      ...plain,
      out_nolabel: pass({ labels: tf.fill([x.shape[0]], classes, 'int32') as tf.Tensor1D }).prediction,
      out_selfcond: second.prediction,
      latent_selfcond: second.latents,
      out_prev: pass({ previous: given }).prediction,
    };
  },
  async sample(model, inputs) {
    return { ddim: await sampled(model, inputs, 'ddim'), ddpm: await sampled(model, inputs, 'ddpm') };
  },
};

/** Steps of the golden's samplers. */
const steps = 4;

/** The original's sampler: a cosine of signal levels, eps clipped to [-1, 1], guidance 0.5, latents handed on; the last estimate. */
async function sampled(model: RIN, inputs: NamedTensors, method: 'ddim' | 'ddpm'): Promise<tf.Tensor> {
  const { classes } = model.config;
  const cond = classes === null ? {} : { labels: input<tf.Tensor1D>(inputs, 'y') };
  const noises = tf.unstack(input(inputs, 'noises'));
  const warm = warmStarted(model);
  // The time of this network is the signal level itself.
  const time = ({ alpha, sigma }: NoiseLevel) => alpha ** 2 / (alpha ** 2 + sigma ** 2);
  const gammas = Array.from(
    { length: steps },
    (_, i) => Math.cos(((1 - i / steps + 0.0002) / 1.00025) * (Math.PI / 2)) ** 2,
  );
  const alpha = Float64Array.from([...gammas, 1], Math.sqrt);
  const sigma = Float64Array.from([...gammas, 1], (gamma) => Math.sqrt(1 - gamma));
  const schedule = customSchedule('vp', {
    alpha,
    sigma,
    time: alpha.map((a, i) => time({ alpha: a, sigma: sigma[i]! })),
  });
  const plain = denoiser<typeof cond>(warm.network, epsilon);
  const none = classes === null ? {} : { labels: tf.fill([noises[0]!.shape[0]!], classes, 'int32') as tf.Tensor1D };
  const guided = classes === null ? plain : classifierFree(plain, { scale: 1.5, unconditional: none });
  let drawn = 0;
  const noise: NoiseSource = {
    draw: () => noises[++drawn]!.dataSync() as Float32Array,
    save: () => null,
    restore: () => undefined,
  };
  try {
    return method === 'ddim'
      ? await sample(ddim(), clamped(guided), noises[0] as tf.Tensor4D, schedule, cond)
      : await sample(ddpmLarge(), clamped(guided), noises[0] as tf.Tensor4D, schedule, cond, { noise });
  } finally {
    warm.dispose();
    tf.dispose([noises, none]);
  }
}
