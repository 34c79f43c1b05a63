import { samplerFromProcess } from '@mezzotint/schedulers';
import { ZigMa, zigma, zigmaFromShapes } from '@mezzotint/zigma';
import * as tf from '@tensorflow/tfjs-core';
import type { Family } from '../family.js';
import { openSingleNetwork } from './single-network.js';

/**
 * The published files of ZigMa (`faceshq1024_0090000.pt`, `churches256_0280000.pt`), of which the averaged weights are taken. Latent
 * images of Stable Diffusion's autoencoder: the option `parts`. Hu et al. 2024 (arXiv 2403.13802).
 */
export const zigmaFamily: Family = {
  name: 'ZigMa',
  recognise: ({ source }) =>
    ['blocks.0.mixer.A_log', 'norm_f.weight', 'final_layer.linear.weight'].every((name) => source?.tensors.has(name)),
  open(candidate, context) {
    const module = new ZigMa(zigmaFromShapes(candidate.source!.tensors));
    const { inChannels } = module.config;
    return openSingleNetwork(candidate, context, {
      family: 'ZigMa',
      module,
      signature: zigma.signature(module.config),
      // It counts time from noise (0) to data (1) and predicts data - noise, the negative of a flow's noise - data.
      sampler: samplerFromProcess(
        { kind: 'flow', shift: 1, timeScale: 1 },
        { solver: 'euler', limit: null, timeOf: ({ alpha, sigma }) => alpha / (alpha + sigma) },
      ),
      prediction: (velocity) => tf.neg(velocity),
      latentScale: inChannels === 4 ? 0.18215 : null,
      steps: 50,
      // Its training drops no captions, so there is nothing learned to guide away from; asked for, the empty text is taken.
      guidance: 1,
    });
  },
};
