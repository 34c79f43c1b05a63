import type { TorchGenerator } from '@mezzotint/random';
import { InvalidArgumentError } from './errors.js';
import { sizeOf } from './host-tensor.js';

/** Makes the initial values of a parameter of the given memory shape from its own stream. */
export type Initializer = (shape: readonly number[], rng: TorchGenerator) => Float32Array;

/** All zeros (the last layer of a residual branch, "zero module"). */
export const zeros: Initializer = (shape) => new Float32Array(sizeOf(shape));

/** All ones (scales of norms). */
export const ones: Initializer = (shape) => new Float32Array(sizeOf(shape)).fill(1);

/** Every element `value`. */
export function constant(value: number): Initializer {
  return (shape) => new Float32Array(sizeOf(shape)).fill(value);
}

/** N(0, std^2). */
export function normal(std = 1): Initializer {
  return (shape, rng) => rng.randn(sizeOf(shape)).map((x) => x * std);
}

/** N(0, std^2) cut off at two deviations: what falls outside is drawn again. TensorFlow's and ViT's for position tables. */
export function truncatedNormal(std: number): Initializer {
  return (shape, rng) => {
    const values = new Float32Array(sizeOf(shape));
    for (let filled = 0; filled < values.length; ) {
      const inside = rng.randn(values.length - filled).filter((x) => Math.abs(x) <= 2);
      values.set(
        inside.map((x) => x * std),
        filled,
      );
      filled += inside.length;
    }
    return values;
  };
}

/** U(-bound, bound). PyTorch's default for linear and convolution weights and biases is bound = 1/sqrt(fanIn). */
export function uniform(bound: number): Initializer {
  return (shape, rng) => rng.rand(sizeOf(shape)).map((x) => (2 * x - 1) * bound);
}

/** U(-b, b) with b = sqrt(6 / (fanIn + fanOut)) (Glorot and Bengio 2010), the fans given because layouts differ. */
export function xavierUniform(fanIn: number, fanOut: number): Initializer {
  return uniform(Math.sqrt(6 / (fanIn + fanOut)));
}

/** A fixed table (frozen position embeddings), in memory order. */
export function table(values: Float32Array): Initializer {
  return (shape) => {
    if (values.length !== sizeOf(shape)) {
      throw new InvalidArgumentError(
        'table',
        `expected ${sizeOf(shape)} values for [${shape.join(', ')}], got ${values.length}`,
      );
    }
    return values.slice();
  };
}
