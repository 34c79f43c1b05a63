import * as tf from '@tensorflow/tfjs-core';
import { KERNELS, runForward, runGrad } from '../kernels.js';
import { withGradient } from './with-gradient.js';

/** SiLU (swish): y = x sigmoid(x), elementwise, any shape. Hendrycks and Gimpel 2016; Ramachandran et al. 2017. */
export function silu<T extends tf.Tensor>(x: T): T {
  return withGradient(
    [x],
    ([x]) => ({ value: runForward(KERNELS.silu, { x })?.[0] ?? tf.mul(x!, tf.sigmoid(x!)) }),
    (dy, [x]) => runGrad(KERNELS.silu, { x, dy }) ?? [siluGrad(x!, dy)],
  ) as T;
}

/** dx = dy (y + s (1 - y)) with s = sigmoid(x), y = x s. */
function siluGrad(x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  const s = tf.sigmoid(x);
  const y = tf.mul(x, s);
  return tf.mul(dy, tf.add(y, tf.mul(s, tf.sub(1, y))));
}

/** Which form of GELU: exact by erf, the tanh approximation (DiT, T5), or the sigmoid one (CLIP's quick-gelu). */
export type GeluKind = 'tanh' | 'erf' | 'quick';

/**
 * GELU, elementwise, any shape. Hendrycks and Gimpel 2016.
 * `erf`: y = x (1 + erf(x / sqrt 2)) / 2. `tanh`: y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.
 * `quick`: y = x sigmoid(1.702 x).
 */
export function gelu<T extends tf.Tensor>(x: T, kind: GeluKind): T {
  return withGradient(
    [x],
    ([x]) => ({ value: runForward(KERNELS.gelu, { x }, { kind })?.[0] ?? tf.mul(x!, GATES[kind](x!)) }),
    (dy, [x]) => runGrad(KERNELS.gelu, { x, dy }, { kind }) ?? [tf.mul(dy, SLOPES[kind](x!))],
  ) as T;
}

// (1 + tanh z) / 2 = sigmoid(2 z), so every form is x times a gate, and two of the gates are sigmoid(u(x)).
const A = 2 * Math.sqrt(2 / Math.PI); // tanh: u = A x + B x^3
const B = A * 0.044715;
const QUICK = 1.702;

const GATES: Record<GeluKind, (x: tf.Tensor) => tf.Tensor> = {
  tanh: (x) => tf.sigmoid(tf.mul(x, tf.add(tf.mul(tf.square(x), B), A))),
  erf: (x) => tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5),
  quick: (x) => tf.sigmoid(tf.mul(x, QUICK)),
};

const SLOPES: Record<GeluKind, (x: tf.Tensor) => tf.Tensor> = {
  tanh: (x) => {
    const squared = tf.square(x);
    const gate = tf.sigmoid(tf.mul(x, tf.add(tf.mul(squared, B), A)));
    return gateSlope(x, gate, tf.add(tf.mul(squared, 3 * B), A));
  },
  // Phi(x) + x phi(x)
  erf: (x) => {
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return tf.add(GATES.erf(x), tf.mul(x, density));
  },
  quick: (x) => gateSlope(x, GATES.quick(x), tf.scalar(QUICK)),
};

/** Slope of x s(u(x)): s + x s (1 - s) u'. */
function gateSlope(x: tf.Tensor, s: tf.Tensor, slope: tf.Tensor): tf.Tensor {
  return tf.mul(s, tf.add(tf.mul(tf.mul(x, slope), tf.sub(1, s)), 1));
}

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

/** What configurations of transformers and diffusers call them (`hidden_act`, `act_fn`). */
export const activationNames: Readonly<Record<string, ActivationKind>> = {
  quick_gelu: 'quick',
  gelu: 'erf',
  gelu_python: 'erf',
  gelu_new: 'tanh',
  gelu_fast: 'tanh',
  gelu_accurate: 'tanh',
  gelu_pytorch_tanh: 'tanh',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
  mish: 'mish',
};

/** The nonlinearity that such a configuration names; undefined when it is unknown. */
export function activationOf(name: unknown): ActivationKind | undefined {
  return typeof name === 'string' && Object.hasOwn(activationNames, name) ? activationNames[name] : undefined;
}

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
