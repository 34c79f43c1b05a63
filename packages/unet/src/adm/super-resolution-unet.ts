import { throwIf } from '@mezzotint/core';
import { Linear, resizeBilinear, silu, timestepEmbedding } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { embeddingWidth } from './blocks.js';
import type { ADMUNetConfig } from './config.js';
import { ADMUNet, type ADMUNetInputs } from './unet.js';

/** What an upsampler takes beside the noisy image and the time. */
export interface SuperResolutionInputs extends ADMUNetInputs {
  /** The image to enlarge, `[N, h, w, C]`, of any size; it has as many channels as the noisy image. */
  readonly lowRes: tf.Tensor4D;
  /** Noise level of `lowRes` as a timestep, `[N]`; given if and only if the network is told it. */
  readonly lowResTime?: tf.Tensor1D;
}

/** `inChannels` counts the image only. */
export interface SuperResolutionConfig extends ADMUNetConfig {
  /**
   * The network is told the noise level of the low-resolution image, by an embedding of its own that is added to the time's (noise
   * conditioning augmentation: Ho et al. 2021, section 4). False when absent: guided-diffusion's published upsamplers are not.
   */
  readonly lowResTime?: boolean;
}

/**
 * A diffusion upsampler: the UNet sees the noisy image and, behind its channels, the low-resolution image resized
 * bilinearly to the same size (Dhariwal and Nichol 2021, section 7; Nichol and Dhariwal 2021). State-dict keys are those
 * of guided-diffusion's `SuperResModel`.
 */
export class SuperResolutionUNet extends ADMUNet {
  /** The configuration as given: `inChannels` counts the image only. */
  override readonly config: SuperResolutionConfig;
  readonly low_res_time_embed?: { readonly 0: Linear; readonly 2: Linear };

  /**
   * @param config `inChannels` counts the image only; the network has twice as many
   * @throws InvalidArgumentError with everything that is wrong with the configuration
   */
  constructor(config: SuperResolutionConfig) {
    super({ ...config, inChannels: 2 * config.inChannels });
    this.config = config;
    if (config.lowResTime) {
      const width = embeddingWidth(config.modelChannels);
      this.low_res_time_embed = { 0: new Linear(config.modelChannels, width), 2: new Linear(width, width) };
    }
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
    const problems = [
      ...this.problems(x, time, inputs ?? {}),
      ...this.lowResProblems(lowRes, x),
      ...this.levelProblems(inputs?.lowResTime, x),
    ];
    throwIf(this.constructor.name, problems);
    return tf.tidy(() => {
      const resized = resizeBilinear(lowRes!, [x.shape[1], x.shape[2]]); //           [N, H, W, C]
      return this.predict(tf.concat([x, resized], 3), time, inputs!);
    });
  }

  protected override embed(time: tf.Tensor1D, inputs: SuperResolutionInputs): tf.Tensor2D {
    const { low_res_time_embed: map } = this;
    const emb = super.embed(time, inputs); //                                         [N, 4C]
    if (map === undefined) return emb;
    const sinusoidal = timestepEmbedding(inputs.lowResTime!, this.config.modelChannels); // [N, C]
    return tf.add(emb, map[2].forward(silu(map[0].forward(sinusoidal))));
  }

  private levelProblems(level: tf.Tensor | undefined, x: tf.Tensor): string[] {
    const expected = this.config.lowResTime ? `[${x.shape[0]}]` : 'none, as this network is not told it';
    const fits = this.config.lowResTime ? level?.rank === 1 && level.shape[0] === x.shape[0] : level === undefined;
    return fits ? [] : [`lowResTime: expected ${expected}, got ${level === undefined ? 'none' : `[${level.shape}]`}`];
  }

  private lowResProblems(lowRes: tf.Tensor | undefined, x: tf.Tensor): string[] {
    const { inChannels } = this.config;
    if (lowRes?.rank === 4 && lowRes.shape[0] === x.shape[0] && lowRes.shape[3] === inChannels) return [];
    const got = lowRes === undefined ? 'none' : `[${lowRes.shape}]`;
    return [`lowRes: expected [${x.shape[0]}, h, w, ${inChannels}], got ${got}`];
  }
}
