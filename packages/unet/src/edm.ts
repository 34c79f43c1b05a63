import {
  type Initializer,
  imageProblems,
  isSkipped,
  labelProblems,
  Module,
  normal,
  Param,
  positiveProblems,
  type RandomStream,
  table,
  throwIf,
  timeProblems,
  uniform,
  xavierUniform,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  averagePool2x,
  conv2d,
  dropout,
  FourierEmbedding,
  GroupNorm,
  joinHeads,
  Linear,
  oneHotOrNone,
  silu,
  timestepEmbedding,
  upsample2x,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import {
  type DhariwalUNetConfig,
  deepestFactor,
  type EDMConfig,
  type EDMUNetConfig,
  groupsOf,
  hasAttention,
  levelWidths,
  type SongUNetConfig,
  validateEDMUNetConfig,
} from './edm-config.js';

/** What EDM's networks take beside the noisy image and the noise level. */
export interface EDMInputs {
  /** Class of each image, int32 `[N]` in [0, classes], `classes` being "no label"; if and only if the model has classes. */
  readonly labels?: tf.Tensor1D;
  /** How each training image was augmented, `[N, augmentWidth]`; absent: not at all, as in sampling. */
  readonly augment?: tf.Tensor2D;
  /** Source of dropout; absent, there is none. */
  readonly rng?: RandomStream;
}

/**
 * EDM's denoiser: D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) around DDPM++, NCSN++ or ADM. Karras et al. 2022,
 * "Elucidating the design space of diffusion-based generative models", eq. 7 and table 1. State-dict keys are those of the
 * published snapshots.
 */
export class EDM extends Module {
  readonly config: EDMConfig;
  readonly model: SongUNet | DhariwalUNet;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: EDMConfig) {
    super();
    throwIf(new.target.name, positiveProblems('sigmaData', config.sigmaData));
    this.config = config;
    this.model = config.unet.type === 'song' ? new SongUNet(config.unet) : new DhariwalUNet(config.unet);
  }

  /**
   * The estimate of the clean images, D(x; sigma).
   * @param x noisy images x0 + sigma n, `[N, H, W, inChannels]`
   * @param sigma noise level of each image, `[N]`
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, sigma: tf.Tensor1D, inputs: EDMInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, [...timeProblems(sigma, x)]);
    return tf.tidy(() => {
      const { skip, out, in: cIn, noise } = edmPreconditioning(sigma, this.config.sigmaData);
      const f = this.model.forward(tf.mul(cIn, x), noise, inputs); //                 [N, H, W, C]
      return tf.add(tf.mul(skip, x), tf.mul(out, f));
    });
  }
}

/** c_skip, c_out, c_in `[N, 1, 1, 1]` and c_noise `[N]` of noise levels `[N]`. EDM, table 1. */
export function edmPreconditioning(sigma: tf.Tensor1D, sigmaData: number) {
  const each = tf.reshape(sigma, [-1, 1, 1, 1]) as tf.Tensor4D;
  const total = tf.add(tf.square(each), sigmaData ** 2) as tf.Tensor4D; // sigma^2 + sigma_data^2
  return {
    skip: tf.div(sigmaData ** 2, total) as tf.Tensor4D,
    out: tf.div(tf.mul(each, sigmaData), tf.sqrt(total)) as tf.Tensor4D,
    in: tf.div(1, tf.sqrt(total)) as tf.Tensor4D,
    noise: tf.mul(tf.log(sigma), 0.25) as tf.Tensor1D,
  };
}

/** A residual block, a convolution or a norm of a network, in the order in which a forward pass meets them. */
type Layers = Record<string, Block | Conv | GroupNorm>;

/**
 * DDPM++ and NCSN++ (Song et al. 2021, "Score-based generative modeling through stochastic differential equations") as EDM
 * trains them. EDM, table 7 and appendix C.2.
 */
export class SongUNet extends Module {
  readonly config: SongUNetConfig;
  readonly map_noise?: FourierEmbedding;
  readonly map_label?: Linear;
  readonly map_augment?: Linear;
  readonly map_layer0: Linear;
  readonly map_layer1: Linear;
  readonly enc: Layers;
  readonly dec: Layers;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: SongUNetConfig) {
    super();
    validateEDMUNetConfig(new.target.name, config);
    this.config = config;
    const { modelChannels, classes, augmentWidth, embeddingMult } = config;
    const noiseWidth = modelChannels * config.noiseMult;
    const width = modelChannels * embeddingMult;
    if (config.noiseEmbedding === 'fourier') this.map_noise = new FourierEmbedding(noiseWidth);
    if (classes !== null) this.map_label = dense(song, classes, noiseWidth);
    if (augmentWidth !== null) this.map_augment = dense(song, augmentWidth, noiseWidth, { bias: false });
    this.map_layer0 = dense(song, noiseWidth, width);
    this.map_layer1 = dense(song, width, width);
    const { enc, skips } = this.encoder(width);
    this.enc = enc;
    this.dec = this.decoder(width, skips);
  }

  /**
   * F(x; noise).
   * @param x scaled noisy images c_in x, `[N, H, W, inChannels]`, H and W multiples of 2^(levels - 1)
   * @param noise c_noise = ln(sigma) / 4 of each image, `[N]`
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or labels are missing or not expected
   */
  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs: EDMInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, inputProblems(this.config, x, noise, inputs));
    return tf.tidy(() => {
      const emb = this.embed(noise, inputs); //                                       [N, E]
      const skips: tf.Tensor4D[] = [];
      let h = x;
      let aux = x; // the image, downsampled level by level
      for (const [name, layer] of Object.entries(this.enc)) {
        if (name.includes('aux_down')) aux = (layer as Conv).forward(aux);
        else {
          if (name.includes('aux_skip')) h = tf.add(skips.pop()!, (layer as Conv).forward(aux));
          else if (name.includes('aux_residual')) {
            aux = tf.mul(tf.add(skips.pop()!, (layer as Conv).forward(aux)), Math.SQRT1_2);
            h = aux;
          } else h = layer instanceof Block ? layer.forward(h, emb, inputs.rng) : layer.forward(h);
          skips.push(h);
        }
      }
      let image: tf.Tensor4D | undefined; // the output, upsampled level by level
      for (const [name, layer] of Object.entries(this.dec)) {
        if (layer instanceof Block) {
          const joined = /_block/.test(name) ? (tf.concat([h, skips.pop()!], 3) as tf.Tensor4D) : h;
          h = layer.forward(joined, emb, inputs.rng);
        } else if (name.includes('aux_up')) image = (layer as Conv).forward(image!);
        else if (name.includes('aux_conv')) {
          const size = name.slice(0, name.indexOf('_'));
          const y = (layer as Conv).forward(silu((this.dec[`${size}_aux_norm`] as GroupNorm).forward(h)));
          image = image === undefined ? y : (tf.add(image, y) as tf.Tensor4D);
        }
      }
      return image!; //                                                               [N, H, W, outChannels]
    });
  }

  /** Features of noise level, label and augmentation through two layers. EDM, appendix C.2. */
  private embed(noise: tf.Tensor1D, { labels, augment }: EDMInputs): tf.Tensor2D {
    const { classes, modelChannels, noiseMult } = this.config;
    let h = this.map_noise
      ? swapHalves(this.map_noise.forward(noise))
      : timestepEmbedding(noise, modelChannels * noiseMult, { order: 'sin-cos', downscaleShift: 1 }); // [N, C]
    if (labels) h = tf.add(h, this.map_label!.forward(tf.mul(oneHotOrNone(labels, classes!), Math.sqrt(classes!))));
    if (augment) h = tf.add(h, this.map_augment!.forward(augment));
    return silu(this.map_layer1.forward(silu(this.map_layer0.forward(h)))); //         [N, E]
  }

  private encoder(width: number) {
    const { imageSize, inChannels, modelChannels, resBlocks, encoder, resampleFilter: filter } = this.config;
    const enc: Layers = {};
    const skips: number[] = [];
    let [c, auxChannels] = [modelChannels, inChannels];
    levelWidths(this.config).forEach((channels, level) => {
      const size = sizeName(imageSize, level);
      if (level === 0) enc[`${size}_conv`] = new Conv(song.inner, inChannels, c, 3);
      else {
        enc[`${size}_down`] = this.block(c, c, width, { resample: 'down' });
        if (encoder === 'skip') {
          enc[`${size}_aux_down`] = new Conv(song.inner, auxChannels, auxChannels, 0, { resample: 'down', filter });
          enc[`${size}_aux_skip`] = new Conv(song.inner, auxChannels, c, 1);
        }
        if (encoder === 'residual') {
          enc[`${size}_aux_residual`] = new Conv(song.inner, auxChannels, c, 3, { resample: 'down-after', filter });
          auxChannels = c;
        }
      }
      skips.push(c);
      for (let i = 0; i < resBlocks; i++) {
        enc[`${size}_block${i}`] = this.block(c, channels, width, { attention: hasAttention(this.config, level) });
        c = channels;
        skips.push(c);
      }
    });
    return { enc, skips };
  }

  private decoder(width: number, skips: number[]): Layers {
    const { imageSize, outChannels, resBlocks, decoder, resampleFilter: filter } = this.config;
    const dec: Layers = {};
    const widths = levelWidths(this.config);
    const deepest = widths.length - 1;
    let c = widths[deepest]!;
    for (let level = deepest; level >= 0; level--) {
      const size = sizeName(imageSize, level);
      if (level === deepest) {
        dec[`${size}_in0`] = this.block(c, c, width, { attention: true });
        dec[`${size}_in1`] = this.block(c, c, width);
      } else dec[`${size}_up`] = this.block(c, c, width, { resample: 'up' });
      for (let i = 0; i <= resBlocks; i++) {
        const attends = i === resBlocks && hasAttention(this.config, level);
        dec[`${size}_block${i}`] = this.block(c + skips.pop()!, widths[level]!, width, { attention: attends });
        c = widths[level]!;
      }
      if (decoder === 'skip' || level === 0) {
        if (decoder === 'skip' && level < deepest) {
          dec[`${size}_aux_up`] = new Conv(song.inner, outChannels, outChannels, 0, { resample: 'up', filter });
        }
        dec[`${size}_aux_norm`] = new GroupNorm(groupsOf(c), c, { epsilon: 1e-6 });
        dec[`${size}_aux_conv`] = new Conv(song.last, c, outChannels, 3);
      }
    }
    return dec;
  }

  private block(inputs: number, outputs: number, embedding: number, options: BlockOptions = {}): Block {
    const { resampleFilter: filter, dropout } = this.config;
    return new Block(inputs, outputs, { ...songBlock, embedding, filter, dropout }, options);
  }
}

/** ADM (Dhariwal and Nichol 2021) as EDM trains it: its own layout, the same network. EDM, table 7 and appendix C.2. */
export class DhariwalUNet extends Module {
  readonly config: DhariwalUNetConfig;
  readonly map_augment?: Linear;
  readonly map_layer0: Linear;
  readonly map_layer1: Linear;
  readonly map_label?: Linear;
  readonly enc: Record<string, Block | Conv>;
  readonly dec: Record<string, Block>;
  readonly out_norm: GroupNorm;
  readonly out_conv: Conv;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: DhariwalUNetConfig) {
    super();
    validateEDMUNetConfig(new.target.name, config);
    this.config = config;
    const { modelChannels, embeddingMult, classes, augmentWidth, outChannels } = config;
    const width = modelChannels * embeddingMult;
    if (augmentWidth !== null) this.map_augment = new Linear(augmentWidth, modelChannels, { bias: false, init: zeros });
    this.map_layer0 = dense(dhariwal, modelChannels, width);
    this.map_layer1 = dense(dhariwal, width, width);
    if (classes !== null) this.map_label = new Linear(classes, width, { bias: false, init: normal(1) });
    const { enc, skips } = this.encoder(width);
    this.enc = enc;
    const top = levelWidths(config)[0]!;
    this.dec = this.decoder(width, skips);
    this.out_norm = new GroupNorm(groupsOf(top), top);
    this.out_conv = new Conv(dhariwal.last, top, outChannels, 3);
  }

  /**
   * F(x; noise); see {@link SongUNet.forward}.
   * @throws InvalidArgumentError when a shape does not fit, or labels are missing or not expected
   */
  forward(x: tf.Tensor4D, noise: tf.Tensor1D, inputs: EDMInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, inputProblems(this.config, x, noise, inputs));
    return tf.tidy(() => {
      const emb = this.embed(noise, inputs); //                                       [N, E]
      const skips: tf.Tensor4D[] = [];
      let h = x;
      for (const layer of Object.values(this.enc)) {
        h = layer instanceof Block ? layer.forward(h, emb, inputs.rng) : layer.forward(h);
        skips.push(h);
      }
      for (const [name, block] of Object.entries(this.dec)) {
        const joined = /_block/.test(name) ? (tf.concat([h, skips.pop()!], 3) as tf.Tensor4D) : h;
        h = block.forward(joined, emb, inputs.rng);
      }
      return this.out_conv.forward(silu(this.out_norm.forward(h))); //                [N, H, W, outChannels]
    });
  }

  private embed(noise: tf.Tensor1D, { labels, augment }: EDMInputs): tf.Tensor2D {
    const { classes, modelChannels } = this.config;
    let h = timestepEmbedding(noise, modelChannels); //                               [N, C]
    if (augment) h = tf.add(h, this.map_augment!.forward(augment));
    h = this.map_layer1.forward(silu(this.map_layer0.forward(h))); //                 [N, E]
    if (labels) h = tf.add(h, this.map_label!.forward(oneHotOrNone(labels, classes!)));
    return silu(h);
  }

  private encoder(width: number) {
    const { imageSize, inChannels, resBlocks } = this.config;
    const enc: Record<string, Block | Conv> = {};
    const skips: number[] = [];
    const widths = levelWidths(this.config);
    let c = widths[0]!;
    widths.forEach((channels, level) => {
      const size = sizeName(imageSize, level);
      if (level === 0) enc[`${size}_conv`] = new Conv(dhariwal.inner, inChannels, c, 3);
      else enc[`${size}_down`] = this.block(c, c, width, { resample: 'down' });
      skips.push(c);
      for (let i = 0; i < resBlocks; i++) {
        enc[`${size}_block${i}`] = this.block(c, channels, width, { attention: hasAttention(this.config, level) });
        c = channels;
        skips.push(c);
      }
    });
    return { enc, skips };
  }

  private decoder(width: number, skips: number[]): Record<string, Block> {
    const { imageSize, resBlocks } = this.config;
    const dec: Record<string, Block> = {};
    const widths = levelWidths(this.config);
    let c = widths.at(-1)!;
    for (let level = widths.length - 1; level >= 0; level--) {
      const size = sizeName(imageSize, level);
      if (level === widths.length - 1) {
        dec[`${size}_in0`] = this.block(c, c, width, { attention: true });
        dec[`${size}_in1`] = this.block(c, c, width);
      } else dec[`${size}_up`] = this.block(c, c, width, { resample: 'up' });
      for (let i = 0; i <= resBlocks; i++) {
        const attends = hasAttention(this.config, level);
        dec[`${size}_block${i}`] = this.block(c + skips.pop()!, widths[level]!, width, { attention: attends });
        c = widths[level]!;
      }
    }
    return dec;
  }

  private block(inputs: number, outputs: number, embedding: number, options: BlockOptions = {}): Block {
    return new Block(inputs, outputs, { ...dhariwalBlock, embedding, dropout: this.config.dropout }, options);
  }
}

/** What all blocks of one network have in common. */
interface BlockSettings {
  readonly start: Start;
  /** Width of the embedding. */
  readonly embedding: number;
  readonly dropout: number;
  /** GroupNorm(h) (1 + scale) + shift (ADM), or GroupNorm(h + shift) (DDPM++, NCSN++). */
  readonly scaleShift: boolean;
  /** Factor of the sum of both branches. */
  readonly sumScale: number;
  readonly epsilon: number;
  readonly filter: readonly number[];
  /** A block that resamples has a convolution on its skip branch also where the widths are equal. */
  readonly resampledSkipConv: boolean;
  /** Channels of an attention head; null: one head. */
  readonly headChannels: number | null;
}

interface BlockOptions {
  readonly resample?: 'up' | 'down';
  readonly attention?: boolean;
}

/**
 * Residual block, with self-attention where asked: h = s (skip(x) + conv(silu(norm(conv(silu(norm(x)))), emb))), then
 * s (h + proj(attention(qkv(norm(h))))). EDM, appendix C.2. `[N,H,W,Cin] -> [N,H',W',Cout]`.
 */
class Block extends Module {
  readonly settings: BlockSettings;
  readonly heads: number;
  readonly norm0: GroupNorm;
  readonly conv0: Conv;
  readonly affine: Linear;
  readonly norm1: GroupNorm;
  readonly conv1: Conv;
  readonly skip?: Conv;
  readonly norm2?: GroupNorm;
  readonly qkv?: Conv;
  readonly proj?: Conv;

  constructor(inputs: number, outputs: number, settings: BlockSettings, { resample, attention }: BlockOptions) {
    super();
    const { start, epsilon, filter, embedding, scaleShift, headChannels } = settings;
    this.settings = settings;
    this.heads = headChannels === null ? 1 : Math.max(1, Math.floor(outputs / headChannels));
    this.norm0 = new GroupNorm(groupsOf(inputs), inputs, { epsilon });
    this.conv0 = new Conv(start.inner, inputs, outputs, 3, { resample, filter });
    this.affine = dense(start, embedding, scaleShift ? 2 * outputs : outputs);
    this.norm1 = new GroupNorm(groupsOf(outputs), outputs, { epsilon });
    this.conv1 = new Conv(start.last, outputs, outputs, 3);
    if (inputs !== outputs || resample !== undefined) {
      const kernel = inputs !== outputs || settings.resampledSkipConv ? 1 : 0;
      this.skip = new Conv(start.inner, inputs, outputs, kernel, { resample, filter });
    }
    if (attention) {
      this.norm2 = new GroupNorm(groupsOf(outputs), outputs, { epsilon });
      this.qkv = new Conv(start.attention, outputs, 3 * outputs, 1);
      this.proj = new Conv(start.last, outputs, outputs, 1);
    }
  }

  forward(x: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const { sumScale, dropout: rate } = this.settings;
      const h = this.conv0.forward(silu(this.norm0.forward(x))); //                   [N, H', W', Cout]
      const dropped = dropout(silu(this.modulated(h, emb)), rate, rng);
      const branch = this.conv1.forward(dropped); //                                  [N, H', W', Cout]
      const y = tf.mul(tf.add(this.skip?.forward(x) ?? x, branch), sumScale) as tf.Tensor4D;
      if (this.norm2 === undefined || isSkipped(this)) return y;
      return tf.mul(tf.add(y, this.attend(this.norm2.forward(y))), sumScale);
    });
  }

  private modulated(h: tf.Tensor4D, emb: tf.Tensor2D): tf.Tensor4D {
    const y = this.affine.forward(emb); //                                            [N, 2 Cout] or [N, Cout]
    const parameters = tf.reshape(y, [y.shape[0], 1, 1, y.shape[1]]) as tf.Tensor4D;
    if (!this.settings.scaleShift) return this.norm1.forward(tf.add(h, parameters));
    const [scale, shift] = tf.split(parameters, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    return tf.add(tf.mul(this.norm1.forward(h), tf.add(scale, 1)), shift);
  }

  private attend(x: tf.Tensor4D): tf.Tensor4D {
    const [n, height, width, c] = x.shape;
    const [q, k, v] = interleavedHeads(this.qkv!.forward(x), this.heads); //          [N, h, T, d]
    const mixed = joinHeads(attention(q, k, v, { by: this })); //                     [N, T, C]
    return this.proj!.forward(tf.reshape(mixed, [n, height, width, c]));
  }
}

/** q, k and v `[N, h, T, d]` of a map `[N, H, W, 3C]` whose channels are ordered (head, d, q|k|v), as EDM's and EDM2's are. */
export function interleavedHeads(qkv: tf.Tensor4D, heads: number): [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D] {
  const [n, height, width, channels] = qkv.shape;
  const [t, d] = [height * width, channels / (3 * heads)];
  const parts = tf.split(tf.reshape(qkv, [n * t, heads, d, 3]), 3, 3); //               3 x [N T, h, d, 1]
  return parts.map((part) => tf.transpose(tf.reshape(part, [n, t, heads, d]), [0, 2, 1, 3])) as [
    tf.Tensor4D,
    tf.Tensor4D,
    tf.Tensor4D,
  ];
}

interface ConvOptions {
  /** Resampling by 2 before the convolution, or (NCSN++'s residual encoder) halving after it. */
  readonly resample?: 'up' | 'down' | 'down-after' | undefined;
  readonly filter?: readonly number[];
}

/**
 * A convolution (none for kernel 0) with resampling by 2 through a separable filter. State: `weight` `[out, in, k, k]` in
 * files, `bias`, and `resample_filter` `[1, 1, taps, taps]`, of sum 1. `[N,H,W,Cin] -> [N,H',W',Cout]`.
 */
class Conv extends Module {
  readonly weight?: Param;
  readonly bias?: Param;
  readonly resample_filter?: Param;
  readonly resample: 'up' | 'down' | 'down-after' | undefined;
  readonly taps: readonly number[];

  constructor(init: Init, inputs: number, outputs: number, kernel: number, options: ConvOptions = {}) {
    super();
    this.resample = options.resample;
    this.taps = options.filter ?? [1, 1];
    if (kernel > 0) {
      const [fanIn, fanOut] = [inputs * kernel ** 2, outputs * kernel ** 2];
      this.weight = new Param([kernel, kernel, inputs, outputs], {
        init: init.weight(fanIn, fanOut),
        layout: 'conv2d',
      });
      this.bias = new Param([outputs], { init: init.bias(fanIn) });
    }
    if (this.resample !== undefined) {
      const sum = this.taps.reduce((a, b) => a + b, 0);
      const square = this.taps.flatMap((a) => this.taps.map((b) => (a * b) / sum ** 2));
      const init = table(Float32Array.from(square));
      this.resample_filter = new Param([1, 1, this.taps.length, this.taps.length], { init, buffer: true });
    }
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      // At both ends of 2 H pixels, `margin` zeros make H outputs.
      const margin = this.taps.length / 2 - 1;
      if (this.resample === 'down-after') {
        const wide = this.convolved(x, margin);
        return tf.add(this.filtered(wide, 'down', 0), this.bias!.value);
      }
      const resampled = this.resample === undefined ? x : this.filtered(x, this.resample, margin);
      return this.weight === undefined ? resampled : this.convolved(resampled, 0, this.bias!.value);
    });
  }

  private convolved(x: tf.Tensor4D, more: number, bias: tf.Tensor | null = null): tf.Tensor4D {
    const weight = this.weight!.value;
    return conv2d(x, weight, bias, { padding: (weight.shape[0]! - 1) / 2 + more });
  }

  /** Every second pixel of x filtered, or x with zeros between its pixels filtered times 4 (the adjoint). */
  private filtered(x: tf.Tensor4D, resample: 'up' | 'down', margin: number): tf.Tensor4D {
    if (this.taps.length === 2 && this.taps[0] === this.taps[1])
      return (resample === 'up' ? upsample2x : averagePool2x)(x);
    const size = this.taps.length;
    const kernel = tf.reshape(this.resample_filter!.value, [size, size, 1, 1]) as tf.Tensor4D;
    const [n, height, width, c] = x.shape;
    // The filter is the same for each channel, so channels are images of one channel.
    const planes = tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [n * c, height, width, 1]) as tf.Tensor4D;
    const y =
      resample === 'down'
        ? conv2d(planes, kernel, null, { stride: 2, padding: margin })
        : tf.conv2dTranspose(planes, tf.mul(kernel, 4) as tf.Tensor4D, [n * c, 2 * height, 2 * width, 1], 2, 'same');
    return tf.transpose(tf.reshape(y, [n, c, y.shape[1], y.shape[2]]), [0, 2, 3, 1]) as tf.Tensor4D;
  }
}

/** `[a, b]` of `[N, C]` as `[b, a]`. */
function swapHalves(x: tf.Tensor2D): tf.Tensor2D {
  const [a, b] = tf.split(x, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
  return tf.concat([b, a], 1);
}

/** The name of a level in state dicts, by its pixels a side at the model's own size: `16x16`. */
export function sizeName(imageSize: number, level: number): string {
  const side = imageSize / 2 ** level;
  return `${side}x${side}`;
}

/** What is wrong with the arguments of a forward pass. */
export function inputProblems(
  config: Pick<EDMUNetConfig, 'inChannels' | 'channelMult' | 'classes'> & { readonly augmentWidth?: number | null },
  x: tf.Tensor4D,
  noise: tf.Tensor1D,
  { labels, augment }: EDMInputs,
): string[] {
  const { inChannels, classes, augmentWidth = null } = config;
  const problems = [
    ...imageProblems('x', x, inChannels, deepestFactor(config)),
    ...timeProblems(noise, x),
    ...labelProblems(labels, x, classes === null ? null : classes + 1),
  ];
  if (augment === undefined) return problems;
  if (augmentWidth === null) problems.push('augment: this model takes no augmentation labels; leave them out');
  else if (String(augment.shape) !== String([x.shape[0], augmentWidth])) {
    problems.push(`augment: expected [${x.shape[0]}, ${augmentWidth}], got [${augment.shape}]`);
  }
  return problems;
}

/** Initial values of a layer's weight and bias. */
interface Init {
  weight(fanIn: number, fanOut: number): Initializer;
  bias(fanIn: number): Initializer;
}

/** Initial values of the layers of one network: the last ones of residual branches start near zero. EDM, appendix C.2. */
interface Start {
  readonly inner: Init;
  readonly last: Init;
  readonly attention: Init;
}

const xavier = (scale: number): Init => ({
  weight: (fanIn, fanOut) => {
    const draw = xavierUniform(fanIn, fanOut);
    return (shape, rng) => draw(shape, rng).map((x) => x * scale);
  },
  bias: () => zeros,
});
const torch: Init = {
  weight: (fanIn) => uniform(1 / Math.sqrt(fanIn)),
  bias: (fanIn) => uniform(1 / Math.sqrt(fanIn)),
};
const zero: Init = { weight: () => zeros, bias: () => zeros };

const song: Start = { inner: xavier(1), last: xavier(1e-5), attention: xavier(Math.sqrt(0.2)) };
const dhariwal: Start = { inner: torch, last: zero, attention: torch };

const songBlock = {
  start: song,
  scaleShift: false,
  sumScale: Math.SQRT1_2,
  epsilon: 1e-6,
  resampledSkipConv: true,
  headChannels: null,
} as const;

const dhariwalBlock = {
  start: dhariwal,
  scaleShift: true,
  sumScale: 1,
  epsilon: 1e-5,
  filter: [1, 1],
  resampledSkipConv: false,
  headChannels: 64,
} as const;

function dense({ inner }: Start, inputs: number, outputs: number, { bias = true } = {}): Linear {
  return new Linear(inputs, outputs, { bias, init: inner.weight(inputs, outputs), biasInit: inner.bias(inputs) });
}
