import {
  imageProblems,
  isSkipped,
  labelProblems,
  labelRows,
  Module,
  normal,
  Param,
  type RandomStream,
  throwIf,
  timeProblems,
  uniform,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  averagePool2x,
  Conv2d,
  dropout,
  Embedding,
  GroupNorm,
  inverseWaveletTransform,
  joinHeads,
  LayerNorm,
  Linear,
  PatchEmbed,
  silu,
  splitHeads,
  timestepEmbedding,
  unpatchify,
  upsample2x,
  waveletTransform,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import {
  type SimpleDiffusionUViTConfig,
  sizeFactor,
  validateSimpleDiffusionConfig,
} from './simple-diffusion-config.js';

/** What the network takes beside the noisy image and its log-SNR. */
export interface SimpleDiffusionUViTInputs {
  /** Class of each image, int32 `[N]` in [0, classes], `classes` being "no label" where the model has one. */
  readonly labels?: tf.Tensor1D;
  /** Source of dropout; absent, nothing is dropped. */
  readonly rng?: RandomStream;
}

/** Epsilon of every norm. */
const epsilon = 1e-6;

/**
 * The U-ViT of simple diffusion: a few levels of convolutions like a UNet's around a transformer, which has nearly all of the
 * parameters. Hoogeboom, Heek and Salimans 2023, "Simple diffusion: end-to-end diffusion for high resolution images", section 2.3
 * and appendix; also the network of VDM++ (Kingma and Gao 2023). No code of it is published: the names of the state dict are
 * ours. Not Bao et al.'s U-ViT, a plain transformer with long skips: that one is `UViT` of `@mezzotint/uvit`.
 */
export class SimpleDiffusionUViT extends Module {
  readonly config: SimpleDiffusionUViTConfig;
  readonly embedding: { readonly 0: Linear; readonly 2: Linear };
  readonly label_embedding?: Embedding;
  readonly patches: PatchEmbed;
  readonly down: readonly Level[];
  readonly positions: Param;
  readonly transformer: readonly TransformerBlock[];
  readonly up: readonly Level[];
  readonly out: { readonly norm: GroupNorm; readonly linear: Linear };

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: SimpleDiffusionUViTConfig) {
    super();
    validateSimpleDiffusionConfig(new.target.name, config);
    this.config = config;
    const { imageSize, inChannels, patchSize, levels, width, depth, embeddingWidth, groups } = config;
    this.embedding = { 0: new Linear(embeddingWidth, embeddingWidth), 2: new Linear(embeddingWidth, embeddingWidth) };
    const rows = labelRows(config);
    if (rows !== null) this.label_embedding = new Embedding(rows, embeddingWidth, { init: normal(0.02) });
    const [first] = levels;
    this.patches =
      waveletLevels(config) > 0
        ? new PatchEmbed(1, patchSize * patchSize * inChannels, first!.channels)
        : new PatchEmbed(patchSize, inChannels, first!.channels);
    const below = [...levels.slice(1).map(({ channels }) => channels), width];
    this.down = levels.map((level, i) => new Level(config, level, level.channels, below[i]!));
    const side = imageSize / sizeFactor(config);
    this.positions = new Param([side * side, width], { init: normal(0.02) });
    this.transformer = Array.from({ length: depth }, () => new TransformerBlock(config));
    this.up = levels.map((level, i) => new Level(config, level, below[i]!, level.channels));
    this.out = {
      norm: new GroupNorm(groups, first!.channels, { epsilon }),
      linear: new Linear(first!.channels, patchSize * patchSize * inChannels, { init: zeros }),
    };
  }

  /**
   * The predicted v = alpha eps - sigma x0, which the paper trains, or what else the model was trained to predict.
   * @param x noisy images `[N, H, W, inChannels]` of the configuration's size
   * @param time log-SNR of each image, ln(alpha^2 / sigma^2), `[N]`
   * @returns `[N, H, W, inChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, { labels, rng }: SimpleDiffusionUViTInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, [
      ...this.imageProblems(x),
      ...timeProblems(time, x),
      ...labelProblems(labels, x, labelRows(this.config)),
    ]);
    const { patchSize, width, levels } = this.config;
    return tf.tidy(() => {
      const embedded = silu(this.embedded(time, labels)); //                          [N, E]
      const side = x.shape[1] / patchSize;
      const channels = levels[0]!.channels;
      const wavelets = waveletLevels(this.config);
      const given = wavelets > 0 ? waveletTransform(x, wavelets) : x;
      let h = tf.reshape(this.patches.forward(given), [-1, side, side, channels]) as tf.Tensor4D; // [N, H / P, W / P, C]
      const skips: tf.Tensor4D[] = [];
      for (const level of this.down) {
        for (const block of level.blocks) {
          h = block.forward(h, embedded, rng);
          skips.push(h);
        }
        h = level.resampled(averagePool2x(h)); //                                     half the side, the next width
      }
      const [n, rows, columns] = h.shape;
      let tokens = tf.add(tf.reshape(h, [n, rows * columns, width]), this.positions.value) as tf.Tensor3D;
      for (const block of this.transformer) tokens = block.forward(tokens, embedded, rng); // [N, T, D]
      h = tf.reshape(tokens, [n, rows, columns, width]);
      for (const level of this.up.toReversed()) {
        h = upsample2x(level.resampled(h));
        for (const block of level.blocks) h = block.forward(tf.add(h, skips.pop()!), embedded, rng);
      }
      const pixels = this.out.linear.forward(silu(this.out.norm.forward(h))); //      [N, H / P, W / P, P P C]
      if (wavelets > 0) return inverseWaveletTransform(pixels, wavelets); //          [N, H, W, C]
      const flat = tf.reshape(pixels, [n, side * side, -1]) as tf.Tensor3D;
      return unpatchify(flat, patchSize, [side, side]); //                            [N, H, W, C]
    });
  }

  /**
   * Sines and cosines of 1000 u with u = 2 arctan(e^(-log-SNR / 2)) / pi in [0, 1] (Salimans and Ho 2022), two layers, plus the
   * label's row: `[N, E]`.
   */
  private embedded(logSnr: tf.Tensor1D, labels: tf.Tensor1D | undefined): tf.Tensor2D {
    const limited = tf.clipByValue(logSnr, -20, 20);
    const u = tf.mul(tf.atan(tf.exp(tf.mul(limited, -0.5))), 2 / Math.PI) as tf.Tensor1D;
    const sinusoidal = timestepEmbedding(tf.mul(u, 1000), this.config.embeddingWidth); // [N, E]
    const embedded = this.embedding[2].forward(silu(this.embedding[0].forward(sinusoidal)));
    return labels ? tf.add(embedded, this.label_embedding!.forward(labels)) : embedded;
  }

  private imageProblems(x: tf.Tensor4D): string[] {
    const { imageSize, inChannels } = this.config;
    const problems = imageProblems('x', x, inChannels, sizeFactor(this.config));
    if (problems.length > 0 || (x.shape[1] === imageSize && x.shape[2] === imageSize)) return problems;
    return [
      `x: expected ${imageSize} x ${imageSize} pixels, which the positions are for, got ${x.shape[1]} x ${x.shape[2]}`,
    ];
  }
}

/** Levels of wavelets in the place of patches; 0 for none. */
function waveletLevels({ downsampling, patchSize }: SimpleDiffusionUViTConfig): number {
  return downsampling === 'wavelets' ? Math.log2(patchSize) : 0;
}

/** Residual blocks of one resolution, and the pointwise map between its width and the next one's. */
class Level extends Module {
  readonly blocks: readonly ResidualBlock[];
  readonly resample: Linear;

  constructor(
    config: SimpleDiffusionUViTConfig,
    level: SimpleDiffusionUViTConfig['levels'][number],
    from: number,
    to: number,
  ) {
    super();
    this.blocks = Array.from({ length: level.blocks }, () => new ResidualBlock(config, level.channels, level.dropout));
    this.resample = new Linear(from, to);
  }

  /** `[N, H, W, from] -> [N, H, W, to]`. */
  resampled(x: tf.Tensor4D): tf.Tensor4D {
    return this.resample.forward(x);
  }
}

/**
 * x + conv(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift)), scale and shift from the embedding; the last convolution starts
 * at zero. `[N, H, W, C] -> [N, H, W, C]`.
 */
class ResidualBlock extends Module {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  readonly condition: Linear;
  readonly norm2: GroupNorm;
  readonly conv2: Conv2d;
  readonly dropout: number;

  constructor({ groups, embeddingWidth }: SimpleDiffusionUViTConfig, channels: number, rate: number) {
    super();
    this.norm1 = new GroupNorm(groups, channels, { epsilon });
    this.conv1 = new Conv2d(channels, channels, 3);
    this.condition = new Linear(embeddingWidth, 2 * channels);
    this.norm2 = new GroupNorm(groups, channels, { epsilon });
    this.conv2 = new Conv2d(channels, channels, 3, { init: zeros });
    this.dropout = rate;
  }

  forward(x: tf.Tensor4D, embedded: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const [scale, shift] = tf
        .split(this.condition.forward(embedded), 2, 1)
        .map((t) => tf.reshape(t, [x.shape[0], 1, 1, -1]));
      const h = this.norm2.forward(this.conv1.forward(silu(this.norm1.forward(x))));
      const modulated = silu(tf.add(tf.mul(h, tf.add(scale!, 1)), shift!) as tf.Tensor4D);
      return tf.add(x, this.conv2.forward(dropout(modulated, this.dropout, rng)));
    });
  }
}

/**
 * Transformer block: h = x + attention(norm(x)), then h + mlp(norm(h)) whose hidden units are scaled and shifted by the embedding;
 * both branches start at zero. `[N, T, D] -> [N, T, D]`.
 */
class TransformerBlock extends Module {
  readonly norm1: LayerNorm;
  readonly qkv: Linear;
  readonly proj: Linear;
  readonly norm2: LayerNorm;
  readonly fc1: Linear;
  readonly condition: Linear;
  readonly fc2: Linear;
  readonly heads: number;
  readonly dropout: number;

  constructor({ width, headWidth, mlpRatio, embeddingWidth, dropout }: SimpleDiffusionUViTConfig) {
    super();
    const hidden = Math.trunc(width * mlpRatio);
    this.heads = width / headWidth;
    this.dropout = dropout;
    this.norm1 = new LayerNorm(width, { epsilon });
    this.qkv = new Linear(width, 3 * width, { init: uniform(Math.sqrt(3 / width)), biasInit: zeros });
    this.proj = new Linear(width, width, { init: zeros });
    this.norm2 = new LayerNorm(width, { epsilon });
    this.fc1 = new Linear(width, hidden, { init: uniform(Math.sqrt(3 / width)), biasInit: zeros });
    this.condition = new Linear(embeddingWidth, 2 * hidden);
    this.fc2 = new Linear(hidden, width, { init: zeros });
  }

  forward(x: tf.Tensor3D, embedded: tf.Tensor2D, rng?: RandomStream): tf.Tensor3D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const parts = tf.split(this.qkv.forward(this.norm1.forward(x)), 3, 2) as tf.Tensor3D[]; // 3 x [N, T, D]
      const [q, k, v] = parts.map((part) => splitHeads(part, this.heads)); //         [N, h, T, d]
      const attended = this.proj.forward(joinHeads(attention(q!, k!, v!, { by: this })));
      const h = tf.add(x, attended) as tf.Tensor3D;
      const [scale, shift] = tf.split(tf.expandDims(this.condition.forward(embedded), 1), 2, 2);
      const hidden = silu(this.fc1.forward(this.norm2.forward(h))); //                [N, T, 4 D]
      const modulated = tf.add(tf.mul(hidden, tf.add(scale!, 1)), shift!) as tf.Tensor3D;
      return tf.add(h, this.fc2.forward(dropout(modulated, this.dropout, rng)));
    });
  }
}
