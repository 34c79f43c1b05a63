import * as tf from '@tensorflow/tfjs-core';

/**
 * The names under which an engine may register fused kernels (`tf.registerKernel`) for the hot composites of this
 * package. An op looks for its kernel on the active engine and runs it, else it runs its decomposed form; while a
 * gradient is recorded the fused forward is used only where the engine registered the `Grad` kernel too, so an engine
 * may fuse inference only.
 *
 * Names of inputs, outputs in order, and attributes; optional inputs are absent from the map, not null. All float32.
 *
 * | kernel | inputs | outputs | attributes |
 * | --- | --- | --- | --- |
 * | `MezzotintSilu` | x | y | |
 * | `MezzotintSiluGrad` | x, dy | dx | |
 * | `MezzotintGelu` | x | y | kind: 'tanh', 'erf' or 'quick' |
 * | `MezzotintGeluGrad` | x, dy | dx | kind |
 * | `MezzotintGroupNorm` | x `[N, P, C]`, scale? `[C]`, shift? `[C]` | y `[N, P, C]`, mean `[N, G]`, inverse deviation `[N, G]` | groups, epsilon |
 * | `MezzotintGroupNormGrad` | x, dy, mean, inverseDeviation, scale? | dx, dScale `[C]`, dShift `[C]` | groups |
 * | `MezzotintLayerNorm` | x `[R, C]`, scale? `[C]`, shift? `[C]` | y, mean `[R, 1]`, inverse deviation `[R, 1]` | epsilon |
 * | `MezzotintLayerNormGrad` | x, dy, mean, inverseDeviation, scale? | dx, dScale, dShift | |
 * | `MezzotintRmsNorm` | x `[R, C]`, scale? `[C]` | y, inverse root mean square `[R, 1]` | epsilon |
 * | `MezzotintRmsNormGrad` | x, dy, inverseRms, scale? | dx, dScale | |
 * | `MezzotintAttention` | q `[N, h, T, d]`, k `[N, h, S, d]`, v `[N, h, S, e]`, mask? `[N or 1, h or 1, T, S]` | o `[N, h, T, e]` | scale |
 * | `MezzotintAttentionGrad` | q, k, v, o, dy, mask? | dq, dk, dv, and dMask (of mask's shape) when mask is given | scale |
 * | `MezzotintUpsample2x` | x `[N, H, W, C]` | y `[N, 2H, 2W, C]` | |
 * | `MezzotintUpsample2xGrad` | dy `[N, 2H, 2W, C]` | dx | |
 * | `MezzotintAveragePool2x` | x `[N, 2H, 2W, C]` | y `[N, H, W, C]` | |
 * | `MezzotintAveragePool2xGrad` | dy | dx | |
 *
 * `conv2d` uses TensorFlow.js's own `FusedConv2D` (with `bias`) when no gradient is recorded, else `Conv2D` and `Add`;
 * `linear` is `BatchMatMul` with `transposeB` and `Add`.
 */
export const KERNELS = {
  silu: 'MezzotintSilu',
  gelu: 'MezzotintGelu',
  groupNorm: 'MezzotintGroupNorm',
  layerNorm: 'MezzotintLayerNorm',
  rmsNorm: 'MezzotintRmsNorm',
  attention: 'MezzotintAttention',
  upsample2x: 'MezzotintUpsample2x',
  averagePool2x: 'MezzotintAveragePool2x',
} as const;

/** Name of a fused forward kernel; its gradient has the same name with `Grad` behind it. */
export type KernelName = (typeof KERNELS)[keyof typeof KERNELS];

type Inputs = Readonly<Record<string, tf.Tensor | null | undefined>>;
type Attributes = Readonly<Record<string, number | string>>;

/** True while TensorFlow.js records a gradient (inside `tf.grad` and its kin). */
export function isRecording(): boolean {
  return tf.engine().state.gradientDepth > 0;
}

/** Runs the active engine's fused forward, or gives undefined when the op has to be decomposed. */
export function runForward(name: KernelName, inputs: Inputs, attributes: Attributes = {}): tf.Tensor[] | undefined {
  return isRecording() && !has(`${name}Grad`) ? undefined : run(name, inputs, attributes);
}

/**
 * Runs the active engine's fused gradient, or gives undefined when it has to be decomposed; always while a second
 * derivative is recorded, since a fused gradient has none.
 */
export function runGrad(name: KernelName, inputs: Inputs, attributes: Attributes = {}): tf.Tensor[] | undefined {
  return isRecording() ? undefined : run(`${name}Grad`, inputs, attributes);
}

function has(name: string): boolean {
  return tf.getKernel(name, tf.getBackend()) != null;
}

function run(name: string, inputs: Inputs, attributes: Attributes): tf.Tensor[] | undefined {
  // An engine's fused kernels need not know empty tensors; the decomposed form does.
  if (!has(name) || Object.values(inputs).some((tensor) => tensor?.size === 0)) return undefined;
  const given: tf.NamedTensorMap = {};
  for (const [key, tensor] of Object.entries(inputs)) if (tensor != null) given[key] = tensor;
  const out = tf.engine().runKernel<tf.Tensor | tf.Tensor[]>(name, given, { ...attributes });
  return Array.isArray(out) ? out : [out];
}
