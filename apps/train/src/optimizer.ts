import { adam, adamW, lamb, noDecayOnBiasAndNorm, type Optimizer, type Trainable } from '@mezzotint/training';
import type { OptimizerConfig } from './config.js';

const kinds = { adamw: adamW, adam, lamb } as const;

/** The optimizer that a configuration describes; biases and norms do not decay. */
export function optimizerOf(of: Trainable, { kind, betas, epsilon, weightDecay }: OptimizerConfig): Optimizer {
  return kinds[kind](of, { betas, epsilon, weightDecay, decays: noDecayOnBiasAndNorm });
}
