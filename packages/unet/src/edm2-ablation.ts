import {
  countProblems,
  isSkipped,
  Module,
  normal,
  ones,
  Param,
  type RandomStream,
  throwIf,
  uniform,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  averagePool2x,
  conv2d,
  dropout,
  groupNorm,
  joinHeads,
  linear,
  MPFourier,
  mpCat,
  mpConv,
  mpSilu,
  mpSum,
  oneHotOrNone,
  pixelNorm,
  silu,
  timestepEmbedding,
  unitVarianceWeight,
  upsample2x,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { inputProblems, interleavedHeads, sizeName } from './edm.js';
import { groupsOf, hasAttention, levelProblems, levelWidths, rateProblems } from './edm-config.js';
import type { EDM2Inputs, EDM2UNetConfig } from './edm2.js';

/** What changes the network between two configurations of EDM2's ablation (Karras et al. 2024, table 1). */
export interface AblationSteps {
  /**
   * C: no biases, no shift by the embedding, group norm without mean and scale, cosine attention in place of attention behind a
   * group norm, Fourier features of the noise level, a channel of ones.
   */
  readonly streamlined: boolean;
  /** D: weights normalised in every pass, N(0, 1) at the start. (E normalises the stored weights too: `forceWeightNormalization`.) */
  readonly normalizedWeights: boolean;
  /**
   * F: no group norms; pixel norm on the encoder's main path, resampling on the main path, the encoder's 1x1 convolution
   * first, one embedding layer, nothing between the last block and the output convolution.
   */
  readonly pixelNorm: boolean;
  /** G: sums, concatenations, SiLU and Fourier features that keep magnitudes; learned gains that start at 0. */
  readonly magnitudePreserving: boolean;
}

/** Configuration of {@link AblationUNet}: EDM2's, the steps taken, and what the steps replace. */
export interface AblationUNetConfig
  extends Pick<
      EDM2UNetConfig,
      'imageSize' | 'inChannels' | 'classes' | 'modelChannels' | 'channelMult' | 'resBlocks' | 'attentionSizes'
    >,
    Pick<EDM2UNetConfig, 'channelsPerHead' | 'dropout'>,
    AblationSteps {
  /** Width of the embedding as a multiple of C. */
  readonly embeddingMult: number;
}

/** How a configuration is trained. EDM2, table 1 and appendix B; batch size and times at ImageNet's scale. */
export interface AblationRecipe {
  readonly batchSize: number;
  readonly learningRate: number;
  /** Batches after which the learning rate decays as 1 / sqrt(t); Infinity: never. */
  readonly decayBatches: number;
  readonly adamBeta2: number;
  /** ln(sigma) ~ N(mean, std^2). */
  readonly noise: { readonly mean: number; readonly std: number };
  /** The loss is weighted by exp(-u(sigma)) with a learned u, plus u. */
  readonly uncertainty: boolean;
  /** Stored weights are normalised before each step. */
  readonly forcedWeightNormalization: boolean;
  /** Factor of the loss. */
  readonly lossScale: number;
  /** FID of ImageNet-512 and the EMA length at which the paper measured it. */
  readonly published: { readonly fid: number; readonly sigmaRel: number };
}

/** One configuration of the ablation. */
export interface AblationConfig {
  readonly unet: AblationUNetConfig;
  readonly recipe: AblationRecipe;
}

const imagenet512 = { imageSize: 64, inChannels: 4, classes: 1000, channelsPerHead: 64, resBlocks: 3 } as const;

const A: AblationConfig = {
  unet: {
    ...imagenet512,
    modelChannels: 192,
    channelMult: [1, 2, 3, 4],
    embeddingMult: 4,
    attentionSizes: [32, 16, 8],
    dropout: 0.1,
    streamlined: false,
    normalizedWeights: false,
    pixelNorm: false,
    magnitudePreserving: false,
  },
  recipe: {
    batchSize: 4096,
    learningRate: 1e-4,
    decayBatches: Number.POSITIVE_INFINITY,
    adamBeta2: 0.999,
    noise: { mean: -1.2, std: 1.2 },
    uncertainty: false,
    forcedWeightNormalization: false,
    lossScale: 100,
    published: { fid: 8.0, sigmaRel: 0.034 },
  },
};

const B: AblationConfig = {
  unet: { ...A.unet, attentionSizes: [16, 8] },
  recipe: {
    ...A.recipe,
    batchSize: 2048,
    learningRate: 2e-4,
    adamBeta2: 0.99,
    noise: { mean: -0.4, std: 1 },
    uncertainty: true,
    published: { fid: 7.24, sigmaRel: 0.09 },
  },
};

const C: AblationConfig = {
  unet: { ...B.unet, streamlined: true },
  recipe: { ...B.recipe, published: { fid: 6.96, sigmaRel: 0.075 } },
};

const D: AblationConfig = {
  unet: { ...C.unet, normalizedWeights: true },
  recipe: { ...C.recipe, learningRate: 0.01, lossScale: 1, published: { fid: 3.75, sigmaRel: 0.225 } },
};

const E: AblationConfig = {
  unet: D.unet,
  recipe: {
    ...D.recipe,
    decayBatches: 70_000,
    forcedWeightNormalization: true,
    published: { fid: 3.02, sigmaRel: 0.145 },
  },
};

const F: AblationConfig = {
  unet: { ...E.unet, pixelNorm: true },
  recipe: { ...E.recipe, published: { fid: 2.71, sigmaRel: 0.1 } },
};

const G: AblationConfig = {
  unet: { ...F.unet, magnitudePreserving: true, dropout: 0 },
  recipe: { ...F.recipe, published: { fid: 2.56, sigmaRel: 0.13 } },
};

/** Configurations A (EDM's ADM) to G (EDM2) of the ablation, each the one before it and what it changes. EDM2, table 1. */
export const ablation = { A, B, C, D, E, F, G } as const;

/** Name of a configuration of the ablation. */
export type AblationName = keyof typeof ablation;

/** Shares of mp-sum and mp-cat in configuration G. EDM2, table 6. */
const balance = { label: 0.5, concat: 0.5, residual: 0.3, attention: 0.3 } as const;
const clipActivations = 256;

/**
 * The network of EDM2's ablation between EDM's ADM (no step taken) and EDM2 (all steps taken), whose outputs it equals there.
 * State-dict keys are EDM2's where it has the layer, `norm0`, `norm1`, `norm2`, `emb_layer1` and `out_norm` where it does not.
 */
export class AblationUNet extends Module {
  readonly config: AblationUNetConfig;
  readonly emb_fourier?: MPFourier;
  readonly emb_noise: Layer;
  readonly emb_layer1?: Layer;
  readonly emb_label?: Layer;
  readonly enc: Record<string, Layer | Block>;
  readonly dec: Record<string, Block>;
  readonly out_norm?: Norm;
  readonly out_conv: Layer;
  readonly out_gain?: Param;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: AblationUNetConfig) {
    super();
    validate(new.target.name, config);
    this.config = config;
    const { inChannels, classes, modelChannels, streamlined } = config;
    const widths = levelWidths(config);
    const [top, embedding] = [widths[0]!, config.embeddingMult * modelChannels];
    if (streamlined) this.emb_fourier = new MPFourier(modelChannels);
    this.emb_noise = new Layer(modelChannels, embedding, 0, config);
    if (!config.pixelNorm) this.emb_layer1 = new Layer(embedding, embedding, 0, config);
    if (classes !== null) this.emb_label = new Layer(classes, embedding, 0, config, { onOneHot: true });
    const { enc, skips } = encoder(config, embedding);
    this.enc = enc;
    this.dec = decoder(config, embedding, skips);
    if (!config.pixelNorm) this.out_norm = new Norm(top, streamlined);
    this.out_conv = new Layer(top, inChannels, 3, config, { zero: true });
    if (config.magnitudePreserving) this.out_gain = new Param([], { init: zeros });
  }

  /**
   * F(x; noise) of scaled noisy images `[N, H, W, inChannels]` and c_noise `[N]`; `[N, H, W, inChannels]`, a new tensor.
   * @throws InvalidArgumentError when a shape does not fit, or labels are missing or not expected
   */
  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs: EDM2Inputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, inputProblems(this.config, x, noise, inputs));
    const { streamlined, magnitudePreserving } = this.config;
    return tf.tidy(() => {
      const emb = this.embed(noise, inputs.labels); //                                [N, E]
      const skips: tf.Tensor4D[] = [];
      let h = x;
      if (streamlined) h = tf.concat([x, tf.ones([x.shape[0], x.shape[1], x.shape[2], 1])], 3) as tf.Tensor4D;
      for (const layer of Object.values(this.enc)) {
        h = layer instanceof Block ? layer.forward(h, emb, inputs.rng) : layer.forward(h);
        skips.push(h);
      }
      for (const [name, block] of Object.entries(this.dec)) {
        if (/_block/.test(name)) h = join(h, skips.pop()!, magnitudePreserving);
        h = block.forward(h, emb, inputs.rng);
      }
      if (this.out_norm) h = silu(this.out_norm.forward(h));
      return this.out_conv.forward(h, this.out_gain?.value); //                        [N, H, W, inChannels]
    });
  }

  private embed(noise: tf.Tensor1D, labels: tf.Tensor1D | undefined): tf.Tensor2D {
    const { classes, modelChannels, streamlined, magnitudePreserving } = this.config;
    let h = this.emb_fourier?.forward(noise) ?? timestepEmbedding(noise, modelChannels); // [N, C]
    // Configurations C to F have cosines without the factor sqrt(2).
    if (streamlined && !magnitudePreserving) h = tf.mul(h, Math.SQRT1_2);
    h = this.emb_noise.forward(h); //                                                 [N, E]
    if (this.emb_layer1) h = this.emb_layer1.forward(silu(h));
    if (labels) {
      const oneHot = tf.mul(oneHotOrNone(labels, classes!), streamlined ? Math.sqrt(classes!) : 1);
      const label = this.emb_label!.forward(oneHot as tf.Tensor2D);
      h = magnitudePreserving ? mpSum(h, label, balance.label) : tf.add(h, label);
    }
    return magnitudePreserving ? mpSilu(h) : silu(h);
  }
}

/** The encoder and the widths of what it hands to the decoder, in order. */
function encoder(config: AblationUNetConfig, embedding: number) {
  const { imageSize, inChannels, resBlocks, streamlined } = config;
  const enc: Record<string, Layer | Block> = {};
  const skips: number[] = [];
  const widths = levelWidths(config);
  let c = widths[0]!;
  widths.forEach((width, level) => {
    const size = sizeName(imageSize, level);
    if (level === 0) enc[`${size}_conv`] = new Layer(inChannels + Number(streamlined), c, 3, config);
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
function decoder(config: AblationUNetConfig, embedding: number, skips: number[]): Record<string, Block> {
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
      const options = { attention: hasAttention(config, level) };
      dec[`${size}_block${i}`] = new Block('dec', c + skips.pop()!, widths[level]!, embedding, config, options);
      c = widths[level]!;
    }
  }
  return dec;
}

/** The residual block, before and after each step. EDM2, appendix B.1 to B.7. `[N,H,W,Cin] -> [N,H',W',Cout]`. */
class Block extends Module {
  readonly config: AblationUNetConfig;
  readonly flavor: 'enc' | 'dec';
  readonly resample: (x: tf.Tensor4D) => tf.Tensor4D;
  readonly heads: number;
  readonly norm0?: Norm;
  readonly conv_res0: Layer;
  readonly emb_gain?: Param;
  readonly emb_linear: Layer;
  readonly norm1?: Norm;
  readonly conv_res1: Layer;
  readonly conv_skip?: Layer;
  readonly norm2?: Norm;
  readonly attn_qkv?: Layer;
  readonly attn_proj?: Layer;

  constructor(
    flavor: 'enc' | 'dec',
    inputs: number,
    outputs: number,
    embedding: number,
    config: AblationUNetConfig,
    { resample, attention }: { readonly resample?: 'up' | 'down'; readonly attention?: boolean } = {},
  ) {
    super();
    const { streamlined, channelsPerHead } = config;
    this.config = config;
    this.flavor = flavor;
    this.resample = resample === 'up' ? upsample2x : resample === 'down' ? averagePool2x : (x) => x;
    this.heads = Math.max(1, Math.floor(outputs / channelsPerHead));
    if (!config.pixelNorm) {
      this.norm0 = new Norm(inputs, streamlined);
      this.norm1 = new Norm(outputs, streamlined);
    }
    this.conv_res0 = new Layer(config.pixelNorm && flavor === 'enc' ? outputs : inputs, outputs, 3, config);
    if (config.magnitudePreserving) this.emb_gain = new Param([], { init: zeros });
    this.emb_linear = new Layer(embedding, streamlined ? outputs : 2 * outputs, 0, config);
    this.conv_res1 = new Layer(outputs, outputs, 3, config, { zero: true });
    if (inputs !== outputs) this.conv_skip = new Layer(inputs, outputs, 1, config);
    if (attention) {
      if (!streamlined) this.norm2 = new Norm(outputs, streamlined);
      this.attn_qkv = new Layer(outputs, 3 * outputs, 1, config);
      this.attn_proj = new Layer(outputs, outputs, 1, config, { zero: true });
    }
  }

  forward(input: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const { magnitudePreserving: keeps, dropout: rate } = this.config;
      const act = keeps ? mpSilu : silu;
      let x = this.resample(input); //                                                [N, H', W', Cin]
      let y: tf.Tensor4D;
      if (this.norm0) y = this.conv_res0.forward(this.resample(act(this.norm0.forward(input))));
      else {
        if (this.flavor === 'enc') x = pixelNorm(this.conv_skip?.forward(x) ?? x); //  [N, H', W', Cout]
        y = this.conv_res0.forward(act(x)); //                                        [N, H', W', Cout]
      }
      y = this.conv_res1.forward(dropout(act(this.modulated(y, emb)), rate, rng));
      if (this.norm0 || this.flavor === 'dec') x = this.conv_skip?.forward(x) ?? x;
      x = this.attended(keeps ? mpSum(x, y, balance.residual) : tf.add(x, y));
      return keeps ? tf.clipByValue(x, -clipActivations, clipActivations) : x;
    });
  }

  /** norm(y) (1 + scale), and + shift before C. */
  private modulated(y: tf.Tensor4D, emb: tf.Tensor2D): tf.Tensor4D {
    const h = this.norm1?.forward(y) ?? y;
    const c = this.emb_linear.forward(emb, this.emb_gain?.value); //                   [N, Cout], before C [N, 2 Cout]
    const perChannel = tf.reshape(c, [c.shape[0], 1, 1, c.shape[1]]) as tf.Tensor4D;
    if (this.config.streamlined) return tf.mul(h, tf.add(perChannel, 1));
    const [scale, shift] = tf.split(perChannel, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    return tf.add(tf.mul(h, tf.add(scale, 1)), shift);
  }

  private attended(x: tf.Tensor4D): tf.Tensor4D {
    if (this.attn_qkv === undefined || isSkipped(this)) return x;
    const parts = interleavedHeads(this.attn_qkv.forward(this.norm2?.forward(x) ?? x), this.heads); // [N, h, T, d]
    const [q, k, v] = this.norm2 ? parts : parts.map(pixelNorm);
    const mixed = tf.reshape(joinHeads(attention(q!, k!, v!, { by: this })), x.shape) as tf.Tensor4D;
    const y = this.attn_proj!.forward(mixed);
    return this.config.magnitudePreserving ? mpSum(x, y, balance.attention) : tf.add(x, y);
  }
}

/** Concatenation of the decoder's features and a skip connection. */
function join(h: tf.Tensor4D, skip: tf.Tensor4D, keeps: boolean): tf.Tensor4D {
  return keeps ? mpCat(h, skip, balance.concat) : tf.concat([h, skip], 3);
}

/**
 * A linear layer (kernel 0) or convolution: PyTorch's, the last of a residual branch starting at zero (A, B); without a bias,
 * others He-uniform (C); with normalised weights, N(0, 1) (D to G). A map of one-hot labels has no bias in any.
 */
class Layer extends Module {
  readonly weight: Param;
  readonly bias?: Param;
  readonly normalized: boolean;
  readonly kernel: number;

  constructor(
    inputs: number,
    outputs: number,
    kernel: number,
    { streamlined, normalizedWeights }: AblationSteps,
    { onOneHot = false, zero = false }: { readonly onOneHot?: boolean; readonly zero?: boolean } = {},
  ) {
    super();
    this.kernel = kernel;
    this.normalized = normalizedWeights;
    const fanIn = inputs * Math.max(kernel, 1) ** 2;
    const usual = zero ? zeros : uniform(Math.sqrt((streamlined ? 3 : 1) / fanIn));
    const init = normalizedWeights || (onOneHot && !streamlined) ? normal(1) : usual;
    this.weight =
      kernel === 0
        ? new Param([outputs, inputs], { init })
        : new Param([kernel, kernel, inputs, outputs], { init, layout: 'conv2d' });
    if (!streamlined && !onOneHot) this.bias = new Param([outputs], { init });
  }

  /** E to G, before each training step: see `MPConv` of layers. */
  forceNormalization(): void {
    if (this.normalized) tf.tidy(() => this.weight.variable.assign(unitVarianceWeight(this.weight.value)));
  }

  forward<T extends tf.Tensor>(x: T, gain?: tf.Tensor): T {
    return tf.tidy(() => {
      if (this.normalized) return mpConv(x, this.weight.value, gain);
      const bias = this.bias?.value ?? null;
      if (this.kernel === 0) return linear(x, this.weight.value, bias);
      return conv2d(x as tf.Tensor4D, this.weight.value, bias, { padding: (this.kernel - 1) / 2 }) as tf.Tensor as T;
    });
  }
}

/** Group norm (A, B), or its division alone: x / sqrt(mean of x^2 + 1e-4) over pixels and group, without state (C to E). */
class Norm extends Module {
  readonly weight?: Param;
  readonly bias?: Param;
  readonly groups: number;

  constructor(channels: number, streamlined: boolean) {
    super();
    this.groups = groupsOf(channels);
    if (streamlined) return;
    this.weight = new Param([channels], { init: ones });
    this.bias = new Param([channels], { init: zeros });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    const { groups } = this;
    if (this.weight) return groupNorm(x, this.weight.value, this.bias!.value, { groups, epsilon: 1e-5 });
    return tf.tidy(() => {
      const [n, height, width, c] = x.shape;
      const grouped = tf.reshape(x, [n, height * width, groups, c / groups]);
      const squares = tf.mean(tf.square(grouped), [1, 3], true); //                   [N, 1, G, 1]
      return tf.reshape(tf.div(grouped, tf.sqrt(tf.add(squares, 1e-4))), x.shape);
    });
  }
}

function validate(who: string, config: AblationUNetConfig): void {
  const { inChannels, classes, channelsPerHead, embeddingMult, dropout: rate } = config;
  const { streamlined, normalizedWeights, pixelNorm, magnitudePreserving } = config;
  const problems = [
    ...countProblems({ inChannels, channelsPerHead, embeddingMult, ...(classes !== null && { classes }) }),
    ...rateProblems('dropout', rate),
    ...levelProblems(config),
  ];
  const steps = Object.entries({ streamlined, normalizedWeights, pixelNorm, magnitudePreserving });
  steps.forEach(([name, taken], i) => {
    const before = steps[i - 1];
    if (taken && before && !before[1]) problems.push(`${name}: builds on ${before[0]}, which is false`);
  });
  throwIf(who, problems);
  levelWidths(config).forEach((width, level) => {
    const heads = hasAttention(config, level) && width > channelsPerHead ? channelsPerHead : 1;
    for (const [name, size] of Object.entries({ channelMult: groupsOf(width), channelsPerHead: heads })) {
      if (width % size !== 0) problems.push(`${name}: ${size} does not divide the ${width} channels of level ${level}`);
    }
  });
  throwIf(who, problems);
}
