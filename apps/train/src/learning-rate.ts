import { constantRate, cosineRate, inverseSqrtRate, type LearningRate, linearRate, warmUp } from '@mezzotint/training';
import type { LearningRateConfig } from './config.js';

/** The learning rate that a configuration describes, over `steps` updates. */
export function learningRateOf(config: LearningRateConfig, steps: number): LearningRate {
  const { kind, peak, end, after, warmUp: rise } = config;
  const shapes: Readonly<Record<typeof kind, () => LearningRate>> = {
    constant: () => constantRate(peak),
    cosine: () => cosineRate({ peak, steps, end }),
    linear: () => linearRate({ peak, steps, end }),
    'inverse-sqrt': () => inverseSqrtRate({ peak, after }),
  };
  return warmUp(rise, shapes[kind]());
}
