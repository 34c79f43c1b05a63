import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine.js';
import { activate } from './activate.js';

/** Plain JavaScript: runs everywhere, about 40 times slower than wasm. */
export const cpu: Engine = {
  name: 'cpu',
  async load() {
    const { version_cpu } = await import('@tensorflow/tfjs-backend-cpu');
    await activate('cpu');
    // The first tensor of this backend prints an advertisement for tfjs-node to the console.
    (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
    return {
      version: version_cpu,
      device: 'cpu, plain JavaScript',
      trains: true,
      limits: ['for tests and tiny models'],
    };
  },
};
