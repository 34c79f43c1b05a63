import { resizeBilinear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { throwIf } from '../inputs.js';
import type { UNetConfig } from './config.js';
import { UNet, type UNetInputs } from './unet.js';

/** What an upsampler takes beside the noisy image and the time. */
export interface SuperResolutionInputs extends UNetInputs {
  /** The image to enlarge, `[N, h, w, C]`, of any size; it has as many channels as the noisy image. */
  readonly lowRes: tf.Tensor4D;
}

/**
 * A diffusion upsampler: the UNet sees the noisy image and, behind its channels, the low-resolution image resized
 * bilinearly to the same size (Dhariwal and Nichol 2021, section 7; Nichol and Dhariwal 2021). State-dict keys are those
 * of guided-diffusion's `SuperResModel`.
 */
export class SuperResolutionUNet extends UNet {
  /** Channels of the noisy image and of the low-resolution one. */
  readonly imageChannels: number;

  /**
   * @param config `inChannels` counts the image only; the network has twice as many
   * @throws InvalidArgumentError with everything that is wrong with the configuration
   */
  constructor(config: UNetConfig) {
    super({ ...config, inChannels: 2 * config.inChannels });
    this.imageChannels = config.inChannels;
  }

  /**
   * What the network was trained to predict.
   * @param x noisy images `[N, H, W, C]`
   * @param time `[N]`
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or `lowRes` or labels are missing
   */
  override forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs?: SuperResolutionInputs): tf.Tensor4D {
    const lowRes = inputs?.lowRes;
    const channels = this.imageChannels;
    throwIf(this.constructor.name, [
      ...shapeProblems('x', x, ['N', 'H', 'W', channels]),
      ...shapeProblems('lowRes', lowRes, [x.shape[0]!, 'h', 'w', channels]),
    ]);
    return tf.tidy(() => {
      const resized = resizeBilinear(lowRes!, [x.shape[1], x.shape[2]]); //           [N, H, W, C]
      return super.forward(tf.concat([x, resized], 3), time, inputs);
    });
  }
}

/** Letters stand for any size. */
function shapeProblems(name: string, x: tf.Tensor | undefined, shape: readonly (number | string)[]): string[] {
  const fits = x?.rank === shape.length && shape.every((size, i) => typeof size === 'string' || size === x.shape[i]);
  return fits ? [] : [`${name}: expected [${shape.join(', ')}], got ${x === undefined ? 'none' : `[${x.shape}]`}`];
}
