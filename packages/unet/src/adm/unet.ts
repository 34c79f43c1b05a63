import {
  imageProblems,
  labelProblems,
  labelRows,
  Module,
  type RandomStream,
  throwIf,
  timeProblems,
} from '@mezzotint/core';
import { type Conv2d, Embedding, GroupNorm, Linear, silu, timestepEmbedding } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { AttentionBlock, embeddingWidth, ResBlock, Upsample, zeroConv } from './blocks.js';
import { type ADMUNetConfig, headCount, levelChannels, totalDownsampling } from './config.js';
import { buildEncoder, buildMiddle, runStage, type Stage } from './encoder.js';
import { validateUNetConfig } from './validate.js';

/** What a ADMUNet takes beside the noisy image and the time. */
export interface ADMUNetInputs {
  /**
   * Class of each image, int32 `[N]` in [0, classes), or `classes` for "no label" where there is a null label; given if and
   * only if the model is class-conditional.
   */
  readonly labels?: tf.Tensor1D;
  /** Source of dropout; absent, there is none. */
  readonly rng?: RandomStream;
}

/**
 * The ADMUNet of ADM (Dhariwal and Nichol 2021), and with other settings that of DDPM (Ho et al. 2020) and Improved DDPM
 * (Nichol and Dhariwal 2021). State-dict keys are those of guided-diffusion's `UNetModel`.
 */
export class ADMUNet extends Module {
  readonly config: ADMUNetConfig;
  readonly time_embed: { readonly 0: Linear; readonly 2: Linear };
  readonly label_emb?: Embedding;
  readonly input_blocks: readonly Stage[];
  readonly middle_block: Stage;
  readonly output_blocks: readonly Stage[];
  readonly out: { readonly 0: GroupNorm; readonly 2: Conv2d };

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ADMUNetConfig) {
    super();
    validateUNetConfig(new.target.name, config);
    this.config = config;
    const { modelChannels, groups, outChannels } = config;
    const rows = labelRows(config);
    const width = embeddingWidth(modelChannels);
    const top = levelChannels(config)[0]!;
    this.time_embed = { 0: new Linear(modelChannels, width), 2: new Linear(width, width) };
    if (rows !== null) this.label_emb = new Embedding(rows, width);
    const encoder = buildEncoder(config);
    this.input_blocks = encoder.stages;
    this.middle_block = buildMiddle(config);
    this.output_blocks = buildDecoder(config, encoder.widths);
    this.out = { 0: new GroupNorm(groups, top), 2: zeroConv(top, outChannels, 3) };
  }

  /**
   * What the network was trained to predict (noise, image or v; with learned variance also the variance share).
   * @param x noisy images `[N, H, W, inChannels]`, H and W multiples of 2^(levels - 1)
   * @param time one number an image, `[N]`, on the scale that the model was trained with (ADM: 0..999)
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or labels are missing or not expected
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs: ADMUNetInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, this.problems(x, time, inputs));
    return this.predict(x, time, inputs);
  }

  /** What is wrong with the arguments of a forward pass. */
  protected problems(x: tf.Tensor4D, time: tf.Tensor1D, { labels }: ADMUNetInputs): string[] {
    return [
      ...imageProblems('x', x, this.config.inChannels, totalDownsampling(this.config)),
      ...timeProblems(time, x),
      ...labelProblems(labels, x, labelRows(this.config)),
    ];
  }

  /** The network, top to bottom; `x` has all the channels that it sees. */
  protected predict(x: tf.Tensor4D, time: tf.Tensor1D, inputs: ADMUNetInputs): tf.Tensor4D {
    return tf.tidy(() => {
      const { rng } = inputs;
      const emb = silu(this.embed(time, inputs)); //                                  [N, 4C]
      const skips: tf.Tensor4D[] = [];
      let h = x;
      for (const stage of this.input_blocks) {
        h = runStage(stage, h, emb, rng);
        skips.push(h);
      }
      h = runStage(this.middle_block, h, emb, rng); //                                [N, H/2^L, W/2^L, C_L]
      for (const stage of this.output_blocks) {
        h = tf.tidy(() => runStage(stage, tf.concat([h, skips.pop()!], 3), emb, rng));
      }
      return this.out[2].forward(silu(this.out[0].forward(h))); //                    [N, H, W, outChannels]
    });
  }

  /** The embedding; every block begins with its silu. DDPM, appendix B; labels added as in ADM. */
  protected embed(time: tf.Tensor1D, { labels }: ADMUNetInputs): tf.Tensor2D {
    const sinusoidal = timestepEmbedding(time, this.config.modelChannels); //               [N, C]
    const emb = this.time_embed[2].forward(silu(this.time_embed[0].forward(sinusoidal))); // [N, 4C]
    return labels === undefined ? emb : tf.add(emb, this.label_emb!.forward(labels));
  }
}

/** The decoder: per level, lowest first, one residual block more than the encoder's, each on its skip, and a step up. */
function buildDecoder(config: ADMUNetConfig, skipWidths: readonly number[]): Stage[] {
  const levels = levelChannels(config);
  const skips = [...skipWidths];
  const stages: Stage[] = [];
  let width = levels.at(-1)!;
  for (let level = levels.length - 1; level >= 0; level--) {
    const channels = levels[level]!;
    for (let i = 0; i <= config.resBlocks; i++) {
      const stage: Stage[number][] = [new ResBlock(width + skips.pop()!, channels, config)];
      width = channels;
      if (config.attentionResolutions.includes(2 ** level)) {
        stage.push(new AttentionBlock(width, headCount(config.headsUp, width), config));
      }
      if (level > 0 && i === config.resBlocks) {
        const residual = config.resampling === 'residual';
        stage.push(
          residual ? new ResBlock(width, width, config, 'up') : new Upsample(width, config.resampling === 'conv'),
        );
      }
      stages.push(stage);
    }
  }
  return stages;
}
