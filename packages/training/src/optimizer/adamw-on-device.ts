import type { HostTensor, Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { adamWKernel } from './adamw-kernel.js';
import { type AdamWOptions, adamWScalars, completeAdamWOptions } from './adamw-options.js';
import { checkMoments, MEAN, SQUARE } from './adamw-state.js';
import { checkFinite, clippingFactor } from './clipping.js';
import type { Gradients, Optimizer, OptimizerState, UpdateOptions } from './optimizer.js';

interface Moments {
  readonly mean: tf.Tensor;
  readonly square: tf.Tensor;
}

/**
 * AdamW (Loshchilov and Hutter 2019) with its moments on the device: by the engine's fused kernel `MezzotintAdamW` where
 * there is one, else by fifteen element-wise kernels a parameter. For GPUs. Everything that changes from update to
 * update is a tensor, so a lazy engine compiles the update once.
 */
export class AdamWOnDevice implements Optimizer {
  readonly #params: ReadonlyMap<string, Param>;
  readonly #options: ReturnType<typeof completeAdamWOptions>;
  readonly #moments = new Map<string, Moments>();
  #step = 0;

  /** @throws InvalidArgumentError when an option is out of range */
  constructor(params: ReadonlyMap<string, Param>, options: AdamWOptions = {}) {
    this.#params = params;
    this.#options = completeAdamWOptions(options);
  }

  async step(
    gradients: Gradients,
    { learningRate, gradientScale = 1, maxGradientNorm }: UpdateOptions,
  ): Promise<number> {
    const { beta1, beta2, epsilon, weightDecay, decays } = this.#options;
    const used = [...this.#params].filter(([path]) => gradients.has(path));
    const norm = gradientScale * (await globalNorm(used.map(([path]) => gradients.get(path)!)));
    checkFinite(norm, this.#step + 1);

    this.#step++;
    const factor = gradientScale * clippingFactor(norm, maxGradientNorm);
    const numbers = adamWScalars(this.#step, [beta1, beta2], learningRate, factor);
    const scalars = {
      gradientScale: tf.scalar(numbers.gradientScale),
      stepSize: tf.scalar(numbers.stepSize),
      rootScale: tf.scalar(numbers.rootScale),
    };
    const keepAll = tf.scalar(1);
    const keepMost = tf.scalar(1 - learningRate * weightDecay);
    for (const [path, param] of used) {
      const moments = this.#momentsOf(path, param);
      const keep = decays(path, param.shape) ? keepMost : keepAll;
      const inputs = { param: param.variable, gradient: gradients.get(path)!, ...moments, keep, ...scalars };
      const after = adamWKernel(inputs, { beta1, beta2, epsilon });
      param.variable.assign(after.param);
      after.param.dispose();
      tf.dispose([moments.mean, moments.square]);
      this.#moments.set(path, { mean: tf.keep(after.mean), square: tf.keep(after.square) });
    }
    tf.dispose([...Object.values(scalars), keepAll, keepMost]);
    return norm;
  }

  async save(): Promise<OptimizerState> {
    const tensors: Record<string, HostTensor> = {};
    for (const [path, { mean, square }] of this.#moments) {
      const param = this.#params.get(path)!;
      tensors[`${path}.${MEAN}`] = param.encode((await mean.data()) as Float32Array);
      tensors[`${path}.${SQUARE}`] = param.encode((await square.data()) as Float32Array);
    }
    return { step: this.#step, tensors };
  }

  load({ step, tensors }: OptimizerState): void {
    const paths = checkMoments(this.#params, step, tensors);
    this.dispose();
    for (const path of paths) {
      const param = this.#params.get(path)!;
      const tensor = (name: string) =>
        tf.keep(tf.tensor(param.decode(tensors[`${path}.${name}`]!), [...param.shape], 'float32'));
      this.#moments.set(path, { mean: tensor(MEAN), square: tensor(SQUARE) });
    }
    this.#step = step;
  }

  dispose(): void {
    for (const { mean, square } of this.#moments.values()) tf.dispose([mean, square]);
    this.#moments.clear();
    this.#step = 0;
  }

  #momentsOf(path: string, param: Param): Moments {
    let moments = this.#moments.get(path);
    if (moments === undefined) {
      const zeros = () => tf.keep(tf.zeros([...param.shape], 'float32'));
      moments = { mean: zeros(), square: zeros() };
      this.#moments.set(path, moments);
    }
    return moments;
  }
}

/** sqrt of the sum of all squares; one number is read back. */
async function globalNorm(gradients: readonly tf.Tensor[]): Promise<number> {
  if (gradients.length === 0) return 0;
  const norm = tf.tidy(() => tf.sqrt(tf.addN(gradients.map((gradient) => tf.sum(tf.square(gradient))))));
  const [value] = await norm.data();
  norm.dispose();
  return value!;
}
