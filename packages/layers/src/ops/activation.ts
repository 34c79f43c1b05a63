import * as tf from '@tensorflow/tfjs-core';
import { type GeluKind, gelu } from './gelu.js';
import { silu } from './silu.js';

/** A nonlinearity by name; `erf`, `tanh` and `quick` are the forms of GELU. */
export type ActivationKind = GeluKind | 'silu' | 'relu' | 'mish';

/** The names of {@link ActivationKind}. */
export const activationKinds = [
  'silu',
  'erf',
  'tanh',
  'quick',
  'relu',
  'mish',
] as const satisfies readonly ActivationKind[];

/** The nonlinearity of that name, elementwise, any shape. Mish: y = x tanh(ln(1 + e^x)) (Misra 2020). */
export function activate<T extends tf.Tensor>(x: T, kind: ActivationKind): T {
  switch (kind) {
    case 'silu':
      return silu(x);
    case 'relu':
      return tf.relu(x);
    case 'mish':
      return tf.tidy(() => tf.mul(x, tf.tanh(tf.softplus(x))));
    default:
      return gelu(x, kind);
  }
}
