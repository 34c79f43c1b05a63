import { throwIf } from '@mezzotint/core';
import { resizeBilinear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { ADMUNetConfig } from './config.js';
import { ADMUNet, type ADMUNetInputs } from './unet.js';

/** What an upsampler takes beside the noisy image and the time. */
export interface SuperResolutionInputs extends ADMUNetInputs {
  /** The image to enlarge, `[N, h, w, C]`, of any size; it has as many channels as the noisy image. */
  readonly lowRes: tf.Tensor4D;
}

/**
 * A diffusion upsampler: the UNet sees the noisy image and, behind its channels, the low-resolution image resized
 * bilinearly to the same size (Dhariwal and Nichol 2021, section 7; Nichol and Dhariwal 2021). State-dict keys are those
 * of guided-diffusion's `SuperResModel`.
 */
export class SuperResolutionUNet extends ADMUNet {
  /** The configuration as given: `inChannels` counts the image only. */
  override readonly config: ADMUNetConfig;

  /**
   * @param config `inChannels` counts the image only; the network has twice as many
   * @throws InvalidArgumentError with everything that is wrong with the configuration
   */
  constructor(config: ADMUNetConfig) {
    super({ ...config, inChannels: 2 * config.inChannels });
    this.config = config;
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
    const problems = [...this.problems(x, time, inputs ?? {}), ...this.lowResProblems(lowRes, x)];
    throwIf(this.constructor.name, problems);
    return tf.tidy(() => {
      const resized = resizeBilinear(lowRes!, [x.shape[1], x.shape[2]]); //           [N, H, W, C]
      return this.predict(tf.concat([x, resized], 3), time, inputs!);
    });
  }

  private lowResProblems(lowRes: tf.Tensor | undefined, x: tf.Tensor): string[] {
    const { inChannels } = this.config;
    if (lowRes?.rank === 4 && lowRes.shape[0] === x.shape[0] && lowRes.shape[3] === inChannels) return [];
    const got = lowRes === undefined ? 'none' : `[${lowRes.shape}]`;
    return [`lowRes: expected [${x.shape[0]}, h, w, ${inChannels}], got ${got}`];
  }
}
