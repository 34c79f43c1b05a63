import { constantRate, cosineRate, inverseSqrtRate, type LearningRate, linearRate, warmUp } from '@mezzotint/training';
import type { TrainConfig } from './config.js';

/** The learning rate that a configuration describes. */
export function learningRateOf({ learningRate, steps }: TrainConfig): LearningRate {
  const { kind, peak, end, after, warmUp: rise } = learningRate;
  const shapes: Readonly<Record<typeof kind, () => LearningRate>> = {
    constant: () => constantRate(peak),
    cosine: () => cosineRate({ peak, steps, end }),
    linear: () => linearRate({ peak, steps, end }),
    'inverse-sqrt': () => inverseSqrtRate({ peak, after }),
  };
  return warmUp(rise, shapes[kind]());
}
