import { InvalidArgumentError, Module, ones, Param, zeros } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import { groupNorm } from '../ops/group-norm.js';
import { layerNorm } from '../ops/layer-norm.js';
import { rmsNorm } from '../ops/rms-norm.js';

export interface NormOptions {
  /** Added to the variance. 1e-5 when absent, as in PyTorch; RmsNorm: 1e-6. */
  readonly epsilon?: number;
  /** Learned scale and shift; true when absent. */
  readonly affine?: boolean;
}

/** Group normalisation. State: `weight` `[C]`, `bias` `[C]`, none without `affine`. */
export class GroupNorm extends Module {
  readonly weight: Param | null;
  readonly bias: Param | null;
  readonly groups: number;
  readonly epsilon: number;

  /** @throws InvalidArgumentError when groups do not divide channels */
  constructor(groups: number, channels: number, { epsilon = 1e-5, affine = true }: NormOptions = {}) {
    super();
    if (!Number.isInteger(channels / groups)) {
      throw new InvalidArgumentError(
        'GroupNorm',
        `expected channels in ${groups} equal groups, got ${channels} channels`,
      );
    }
    this.groups = groups;
    this.epsilon = epsilon;
    this.weight = affine ? new Param([channels], { init: ones }) : null;
    this.bias = affine ? new Param([channels], { init: zeros }) : null;
  }

  /** x `[N, ..., C]`. */
  forward<T extends tf.Tensor>(x: T): T {
    return groupNorm(x, this.weight?.value ?? null, this.bias?.value ?? null, this);
  }
}

/** Layer normalisation over the last axis. State: `weight` `[width]`, `bias` `[width]`, none without `affine`. */
export class LayerNorm extends Module {
  readonly weight: Param | null;
  readonly bias: Param | null;
  readonly epsilon: number;

  constructor(width: number, { epsilon = 1e-5, affine = true }: NormOptions = {}) {
    super();
    this.epsilon = epsilon;
    this.weight = affine ? new Param([width], { init: ones }) : null;
    this.bias = affine ? new Param([width], { init: zeros }) : null;
  }

  /** x `[..., width]`. */
  forward<T extends tf.Tensor>(x: T): T {
    return layerNorm(x, this.weight?.value ?? null, this.bias?.value ?? null, this);
  }
}

/** Root-mean-square normalisation over the last axis. State: `weight` `[width]`, none without `affine`. */
export class RmsNorm extends Module {
  readonly weight: Param | null;
  readonly epsilon: number;

  constructor(width: number, { epsilon = 1e-6, affine = true }: NormOptions = {}) {
    super();
    this.epsilon = epsilon;
    this.weight = affine ? new Param([width], { init: ones }) : null;
  }

  /** x `[..., width]`. */
  forward<T extends tf.Tensor>(x: T): T {
    return rmsNorm(x, this.weight?.value ?? null, this);
  }
}
