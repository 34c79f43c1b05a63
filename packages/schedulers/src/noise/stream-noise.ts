import { InvalidArgumentError, type Seed, TorchGenerator, type TorchGeneratorState } from '@mezzotint/core';
import { nchwToNhwc } from './layout.js';
import type { Json, NoiseSource } from './noise-source.js';

/**
 * The noise of Python libraries on the CPU: each draw is `torch.randn([N, C, H, W])` of one generator, turned to NHWC.
 * The same seed gives the same picture as there.
 *
 * @param seed as for `torch.manual_seed`, or a generator that has already been used
 */
export function torchNoise(seed: Seed | TorchGenerator): NoiseSource {
  let generator = seed instanceof TorchGenerator ? seed : new TorchGenerator(seed);
  return {
    draw: (shape) => drawNchw(generator, shape),
    save: () => generator.state() as unknown as Json,
    restore(state) {
      generator = TorchGenerator.fromState(state as unknown as TorchGeneratorState);
    },
  };
}

/**
 * A stream of its own for each image, so that an image does not depend on the batch it is made in: image n of a draw
 * is `torch.randn([1, C, H, W])` of generator n. diffusers: a list of generators.
 *
 * @param seeds one for each image of the batch
 */
export function perImageNoise(seeds: readonly Seed[]): NoiseSource {
  let generators = seeds.map((seed) => new TorchGenerator(seed));
  return {
    draw(shape) {
      const [n, ...image] = shape;
      if (n !== generators.length) {
        throw new InvalidArgumentError('perImageNoise', `has ${generators.length} seeds for a batch of ${n} images`);
      }
      const all = new Float32Array(shape.reduce((size, d) => size * d, 1));
      const size = all.length / generators.length;
      generators.forEach((generator, i) => {
        all.set(drawNchw(generator, [1, ...image]), i * size);
      });
      return all;
    },
    save: () => generators.map((generator) => generator.state() as unknown as Json),
    restore(state) {
      generators = (state as unknown as TorchGeneratorState[]).map((s) => TorchGenerator.fromState(s));
    },
  };
}

function drawNchw(generator: TorchGenerator, shape: readonly number[]): Float32Array {
  return nchwToNhwc(generator.randn(shape.reduce((size, d) => size * d, 1)), shape);
}
