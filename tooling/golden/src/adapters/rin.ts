import { classifierFree } from '@mezzotint/guidance';
import { RIN, type RINInputs, type RINOutput, rinFromOriginal, warmStarted } from '@mezzotint/rin';
import { type Guide, type NoiseSource, sample, samplerFromProcess } from '@mezzotint/schedulers';
import { recipeNamed } from '@mezzotint/training';
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

/** The original's sampler, by the recipe's process: estimates clipped to [-1, 1], guidance 0.5, latents handed on; the last estimate. */
async function sampled(model: RIN, inputs: NamedTensors, method: 'ddim' | 'ddpm'): Promise<tf.Tensor> {
  const { classes, imageHeight } = model.config;
  const cond = classes === null ? {} : { labels: input<tf.Tensor1D>(inputs, 'y') };
  const noises = tf.unstack(input(inputs, 'noises'));
  const process = recipeNamed('rin').process({ imageSize: imageHeight, time: 'gamma' });
  const solver = method === 'ddim' ? 'ddim' : 'ddpm-large';
  const sampler = samplerFromProcess(process, { solver, limit: { kind: 'clip', range: 1 } });
  const none = classes === null ? {} : { labels: tf.fill([noises[0]!.shape[0]!], classes, 'int32') as tf.Tensor1D };
  const guide: Guide<typeof cond> = (plain) =>
    classes === null ? plain : classifierFree(plain, { scale: 1.5, unconditional: none });
  const warm = warmStarted(model);
  let drawn = 0;
  const noise: NoiseSource = {
    draw: () => noises[++drawn]!.dataSync() as Float32Array,
    save: () => null,
    restore: () => undefined,
  };
  try {
    const [start, schedule] = [noises[0] as tf.Tensor4D, sampler.schedule({ steps })];
    return await sample(sampler.solver, sampler.model(warm.network, guide), start, schedule, cond, { noise });
  } finally {
    warm.dispose();
    tf.dispose([noises, none]);
  }
}
