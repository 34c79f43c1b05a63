import {
  countProblems,
  foreignConfig,
  isSkipped,
  Module,
  Param,
  positiveProblems,
  type RandomStream,
  throwIf,
  timeProblems,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  averagePool2x,
  dropout,
  joinHeads,
  MPConv,
  MPFourier,
  mpCat,
  mpSilu,
  mpSum,
  oneHotOrNone,
  pixelNorm,
  upsample2x,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { edmPreconditioning, inputProblems, interleavedHeads, sizeName } from './edm.js';
import { hasAttention, levelProblems, levelWidths, rateProblems } from './edm-config.js';

/** Configuration of {@link EDM2UNet}. A plain JSON value. */
export interface EDM2UNetConfig {
  /** Pixels of the (latent) image a side; the forward pass takes every size that the levels divide. */
  readonly imageSize: number;
  /** Channels of the image, in and out. */
  readonly inChannels: number;
  /** Classes, or null for an unconditional model. The label `classes` is "no label". */
  readonly classes: number | null;
  /** Base width C. */
  readonly modelChannels: number;
  /** Width of each level as a multiple of C, full resolution first; each level below has half the pixels a side. */
  readonly channelMult: readonly number[];
  /** Width of the noise level's features as a multiple of C; null: the width of the first level. */
  readonly noiseMult: number | null;
  /** Width of the embedding as a multiple of C; null: the width of the widest level. */
  readonly embeddingMult: number | null;
  /** Residual blocks a level in the encoder; the decoder has one more. */
  readonly resBlocks: number;
  /** Levels with attention, by their pixels a side at `imageSize`. */
  readonly attentionSizes: readonly number[];
  /** Channels of an attention head. */
  readonly channelsPerHead: number;
  /** Dropout rate inside residual blocks; applied only when a forward pass is given an `rng`. */
  readonly dropout: number;
  /** Share t of the label in the embedding's mp-sum. */
  readonly labelBalance: number;
  /** Share t of the skip connection in the decoder's mp-cat. */
  readonly concatBalance: number;
  /** Share t of the residual branch in mp-sum. */
  readonly residualBalance: number;
  /** Share t of the attention branch in mp-sum. */
  readonly attentionBalance: number;
  /** Largest activation that leaves a block; null: no limit. */
  readonly clipActivations: number | null;
}

/** Configuration of {@link EDM2}. */
export interface EDM2Config {
  /** Standard deviation of the data. */
  readonly sigmaData: number;
  /** Fourier features of the uncertainty head; null: no head. */
  readonly logvarChannels: number | null;
  readonly unet: EDM2UNetConfig;
}

/** What the network takes beside the noisy image and the noise level. */
export interface EDM2Inputs {
  /** Class of each image, int32 `[N]` in [0, classes], `classes` being "no label"; if and only if the model has classes. */
  readonly labels?: tf.Tensor1D;
  /** Source of dropout; absent, there is none. */
  readonly rng?: RandomStream;
}

/** A network that EDM's preconditioning can be put around. */
export interface PreconditionedNetwork {
  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs?: EDM2Inputs): tf.Tensor4D;
}

/**
 * EDM2's denoiser D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), and the head u(sigma) that learns how uncertain it is at
 * each noise level. Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", appendix B.
 * State-dict keys are those of the published snapshots.
 */
export class EDM2<U extends Module & PreconditionedNetwork = EDM2UNet> extends Module {
  readonly sigmaData: number;
  readonly unet: U;
  readonly logvar_fourier?: MPFourier;
  readonly logvar_linear?: MPConv;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor({ sigmaData, logvarChannels }: Omit<EDM2Config, 'unet'>, unet: U) {
    super();
    throwIf(new.target.name, [
      ...positiveProblems('sigmaData', sigmaData),
      ...(logvarChannels === null ? [] : countProblems({ logvarChannels })),
    ]);
    this.sigmaData = sigmaData;
    this.unet = unet;
    if (logvarChannels !== null) {
      this.logvar_fourier = new MPFourier(logvarChannels);
      this.logvar_linear = new MPConv(logvarChannels, 1, 0);
    }
  }

  /**
   * The estimate of the clean images, D(x; sigma).
   * @param x noisy images x0 + sigma n, `[N, H, W, inChannels]`
   * @param sigma noise level of each image, `[N]`
   * @returns `[N, H, W, inChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, sigma: tf.Tensor1D, inputs: EDM2Inputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, timeProblems(sigma, x));
    return tf.tidy(() => {
      const { skip, out, in: cIn, noise } = edmPreconditioning(sigma, this.sigmaData);
      const f = this.unet.forward(tf.mul(cIn, x), noise, inputs); //                  [N, H, W, C]
      return tf.add(tf.mul(skip, x), tf.mul(out, f));
    });
  }

  /** u(sigma), the logarithm of the loss's variance at a noise level, of c_noise = ln(sigma) / 4: `[N]` -> `[N]`. EDM2, eq. 22. */
  logVariance(noise: tf.Tensor1D): tf.Tensor1D {
    throwIf('logVariance', this.logvar_linear ? [] : ['this model has no uncertainty head (logvarChannels is null)']);
    return tf.tidy(() => tf.reshape(this.logvar_linear!.forward(this.logvar_fourier!.forward(noise)), [-1]));
  }
}

/** EDM2 of a configuration. */
export function edm2({ unet, ...head }: EDM2Config): EDM2 {
  return new EDM2(head, new EDM2UNet(unet));
}

/**
 * EDM2's network (configuration G): a UNet in which every layer keeps the magnitude of its input. Karras et al. 2024,
 * figure 21 and table 6.
 */
export class EDM2UNet extends Module {
  readonly config: EDM2UNetConfig;
  readonly out_gain: Param;
  readonly emb_fourier: MPFourier;
  readonly emb_noise: MPConv;
  readonly emb_label?: MPConv;
  readonly enc: Record<string, MPConv | Block>;
  readonly dec: Record<string, Block>;
  readonly out_conv: MPConv;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: EDM2UNetConfig) {
    super();
    validateEDM2UNetConfig(new.target.name, config);
    this.config = config;
    const { inChannels, classes, modelChannels, noiseMult, embeddingMult } = config;
    const widths = levelWidths(config);
    const noiseWidth = noiseMult === null ? widths[0]! : noiseMult * modelChannels;
    const width = embeddingMult === null ? Math.max(...widths) : embeddingMult * modelChannels;
    this.emb_fourier = new MPFourier(noiseWidth);
    this.emb_noise = new MPConv(noiseWidth, width, 0);
    if (classes !== null) this.emb_label = new MPConv(classes, width, 0);
    const { enc, skips } = encoder(config, width);
    this.enc = enc;
    this.dec = decoder(config, width, skips);
    this.out_conv = new MPConv(widths[0]!, inChannels, 3);
    this.out_gain = new Param([], { init: zeros });
  }

  /**
   * F(x; noise).
   * @param x scaled noisy images c_in x, `[N, H, W, inChannels]`, H and W multiples of 2^(levels - 1)
   * @param noise c_noise = ln(sigma) / 4 of each image, `[N]`
   * @returns `[N, H, W, inChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or labels are missing or not expected
   */
  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs: EDM2Inputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, inputProblems(this.config, x, noise, inputs));
    return tf.tidy(() => {
      const emb = this.embed(noise, inputs.labels); //                                [N, E]
      const skips: tf.Tensor4D[] = [];
      // A channel of ones stands in for the biases, which no layer has.
      let h = tf.concat([x, tf.ones([x.shape[0], x.shape[1], x.shape[2], 1])], 3) as tf.Tensor4D;
      for (const layer of Object.values(this.enc)) {
        h = layer instanceof Block ? layer.forward(h, emb, inputs.rng) : layer.forward(h);
        skips.push(h);
      }
      for (const [name, block] of Object.entries(this.dec)) {
        const joined = /_block/.test(name) ? mpCat(h, skips.pop()!, this.config.concatBalance) : h;
        h = block.forward(joined, emb, inputs.rng);
      }
      return this.out_conv.forward(h, this.out_gain.value); //                        [N, H, W, inChannels]
    });
  }

  private embed(noise: tf.Tensor1D, labels: tf.Tensor1D | undefined): tf.Tensor2D {
    const { classes, labelBalance } = this.config;
    const h = this.emb_noise.forward(this.emb_fourier.forward(noise)); //             [N, E]
    if (labels === undefined) return mpSilu(h);
    const oneHot = tf.mul(oneHotOrNone(labels, classes!), Math.sqrt(classes!)) as tf.Tensor2D; // unit variance
    const label = this.emb_label!.forward(oneHot);
    return mpSilu(mpSum(h, label, labelBalance));
  }
}

/** The encoder and the widths of what it hands to the decoder, in order. */
function encoder(config: EDM2UNetConfig, embedding: number) {
  const { imageSize, inChannels, resBlocks } = config;
  const enc: Record<string, MPConv | Block> = {};
  const skips: number[] = [];
  const widths = levelWidths(config);
  let c = widths[0]!;
  widths.forEach((width, level) => {
    const size = sizeName(imageSize, level);
    if (level === 0) enc[`${size}_conv`] = new MPConv(inChannels + 1, c, 3);
    else enc[`${size}_down`] = new Block('enc', c, c, embedding, config, { resample: 'down' });
    skips.push(c);
    for (let i = 0; i < resBlocks; i++) {
      const attends = hasAttention(config, level);
      enc[`${size}_block${i}`] = new Block('enc', c, width, embedding, config, { attention: attends });
      c = width;
      skips.push(c);
    }
  });
  return { enc, skips };
}

/** The decoder: per level, lowest first, one block more than the encoder's, each on its skip, after a step up. */
function decoder(config: EDM2UNetConfig, embedding: number, skips: number[]): Record<string, Block> {
  const { imageSize, resBlocks } = config;
  const dec: Record<string, Block> = {};
  const widths = levelWidths(config);
  let c = widths.at(-1)!;
  for (let level = widths.length - 1; level >= 0; level--) {
    const size = sizeName(imageSize, level);
    if (level === widths.length - 1) {
      dec[`${size}_in0`] = new Block('dec', c, c, embedding, config, { attention: true });
      dec[`${size}_in1`] = new Block('dec', c, c, embedding, config);
    } else dec[`${size}_up`] = new Block('dec', c, c, embedding, config, { resample: 'up' });
    for (let i = 0; i <= resBlocks; i++) {
      const attends = hasAttention(config, level);
      dec[`${size}_block${i}`] = new Block('dec', c + skips.pop()!, widths[level]!, embedding, config, {
        attention: attends,
      });
      c = widths[level]!;
    }
  }
  return dec;
}

/**
 * Residual block. The encoder's normalises its main path (pixel norm) after the 1x1 convolution, the decoder's has the
 * convolution behind the branch. EDM2, figure 21. `[N,H,W,Cin] -> [N,H',W',Cout]`.
 */
class Block extends Module {
  readonly config: EDM2UNetConfig;
  readonly flavor: 'enc' | 'dec';
  readonly resample: ((x: tf.Tensor4D) => tf.Tensor4D) | undefined;
  readonly heads: number;
  readonly emb_gain: Param;
  readonly conv_res0: MPConv;
  readonly emb_linear: MPConv;
  readonly conv_res1: MPConv;
  readonly conv_skip?: MPConv;
  readonly attn_qkv?: MPConv;
  readonly attn_proj?: MPConv;

  constructor(
    flavor: 'enc' | 'dec',
    inputs: number,
    outputs: number,
    embedding: number,
    config: EDM2UNetConfig,
    { resample, attention }: { readonly resample?: 'up' | 'down'; readonly attention?: boolean } = {},
  ) {
    super();
    this.config = config;
    this.flavor = flavor;
    this.resample = resample === 'up' ? upsample2x : resample === 'down' ? averagePool2x : undefined;
    this.heads = outputs / config.channelsPerHead;
    this.emb_gain = new Param([], { init: zeros });
    this.conv_res0 = new MPConv(flavor === 'enc' ? outputs : inputs, outputs, 3);
    this.emb_linear = new MPConv(embedding, outputs, 0);
    this.conv_res1 = new MPConv(outputs, outputs, 3);
    if (inputs !== outputs) this.conv_skip = new MPConv(inputs, outputs, 1);
    if (attention) {
      this.attn_qkv = new MPConv(outputs, 3 * outputs, 1);
      this.attn_proj = new MPConv(outputs, outputs, 1);
    }
  }

  forward(input: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const { dropout: rate, residualBalance, clipActivations } = this.config;
      let x = this.resample?.(input) ?? input; //                                     [N, H', W', Cin]
      if (this.flavor === 'enc') x = pixelNorm(this.conv_skip?.forward(x) ?? x); //   [N, H', W', Cout]
      const y = this.conv_res0.forward(mpSilu(x)); //                                 [N, H', W', Cout]
      const c = tf.add(this.emb_linear.forward(emb, this.emb_gain.value), 1); //       [N, Cout]
      const modulated = tf.mul(y, tf.reshape(c, [c.shape[0]!, 1, 1, c.shape[1]!])) as tf.Tensor4D;
      const branch = this.conv_res1.forward(dropout(mpSilu(modulated), rate, rng));
      if (this.flavor === 'dec') x = this.conv_skip?.forward(x) ?? x;
      x = this.attended(mpSum(x, branch, residualBalance));
      return clipActivations === null ? x : tf.clipByValue(x, -clipActivations, clipActivations);
    });
  }

  /** Cosine attention: queries, keys and values of each head are pixel-normalised. EDM2, section 2.2 (configuration C). */
  private attended(x: tf.Tensor4D): tf.Tensor4D {
    if (this.attn_qkv === undefined || isSkipped(this)) return x;
    const [q, k, v] = interleavedHeads(this.attn_qkv.forward(x), this.heads).map(pixelNorm); // [N, h, T, d]
    const mixed = joinHeads(attention(q!, k!, v!, { by: this })); //                  [N, T, C]
    return mpSum(x, this.attn_proj!.forward(tf.reshape(mixed, x.shape)), this.config.attentionBalance);
  }
}

/** Throws an InvalidArgumentError with everything that is wrong with a network's configuration. */
export function validateEDM2UNetConfig(who: string, config: EDM2UNetConfig): void {
  const { inChannels, classes, channelsPerHead, noiseMult, embeddingMult, clipActivations, modelChannels } = config;
  const { labelBalance, concatBalance, residualBalance, attentionBalance } = config;
  const problems = [
    ...countProblems({ inChannels, channelsPerHead, ...(classes !== null && { classes }) }),
    ...rateProblems('dropout', config.dropout),
    ...levelProblems(config),
    ...(clipActivations === null ? [] : positiveProblems('clipActivations', clipActivations)),
  ];
  for (const [name, share] of Object.entries({ labelBalance, concatBalance, residualBalance, attentionBalance })) {
    if (!(share >= 0 && share <= 1)) problems.push(`${name}: expected a share in [0, 1], got ${JSON.stringify(share)}`);
  }
  for (const [name, mult] of Object.entries({ noiseMult, embeddingMult })) {
    if (mult !== null && !(mult > 0 && Number.isInteger(mult * modelChannels))) {
      problems.push(
        `${name}: expected a multiple of modelChannels that gives a whole width, got ${JSON.stringify(mult)}`,
      );
    }
  }
  throwIf(who, problems);
  const widths = levelWidths(config);
  widths.forEach((width, level) => {
    if ((hasAttention(config, level) || level === widths.length - 1) && width % channelsPerHead !== 0) {
      problems.push(
        `channelsPerHead: heads of ${channelsPerHead} do not divide the ${width} channels of level ${level}`,
      );
    }
  });
  throwIf(who, problems);
}

/**
 * Our configuration from the arguments of EDM2's `Precond` (a JSON object with keys such as `img_resolution`; absent keys take
 * the defaults of that class and of its `UNet` and `Block`).
 *
 * @throws InvalidArgumentError naming every unknown, missing or unusable key
 */
export function edm2FromOriginal(json: unknown): EDM2Config {
  const read = foreignConfig('edm2FromOriginal', json, {
    defaults: {
      img_resolution: undefined,
      img_channels: undefined,
      label_dim: undefined,
      sigma_data: 0.5,
      logvar_channels: 128,
      model_channels: 192,
      channel_mult: [1, 2, 3, 4],
      channel_mult_noise: null,
      channel_mult_emb: null,
      num_blocks: 3,
      attn_resolutions: [16, 8],
      label_balance: 0.5,
      concat_balance: 0.5,
      resample_filter: [1, 1],
      channels_per_head: 64,
      dropout: 0,
      res_balance: 0.3,
      attn_balance: 0.3,
      clip_act: 256,
    },
    fixed: {},
    ignored: (key) => key === 'use_fp16',
  });
  const filter = JSON.stringify(read('resample_filter'));
  throwIf('edm2FromOriginal', filter === '[1,1]' ? [] : [`resample_filter: expected [1,1], got ${filter}`]);
  return {
    sigmaData: read('sigma_data') as number,
    logvarChannels: read('logvar_channels') as number,
    unet: {
      imageSize: read('img_resolution') as number,
      inChannels: read('img_channels') as number,
      classes: (read('label_dim') as number) || null,
      modelChannels: read('model_channels') as number,
      channelMult: read('channel_mult') as number[],
      noiseMult: read('channel_mult_noise') as number | null,
      embeddingMult: read('channel_mult_emb') as number | null,
      resBlocks: read('num_blocks') as number,
      attentionSizes: read('attn_resolutions') as number[],
      channelsPerHead: read('channels_per_head') as number,
      dropout: read('dropout') as number,
      labelBalance: read('label_balance') as number,
      concatBalance: read('concat_balance') as number,
      residualBalance: read('res_balance') as number,
      attentionBalance: read('attn_balance') as number,
      clipActivations: read('clip_act') as number | null,
    },
  };
}
