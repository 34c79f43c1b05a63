import { countProblems, type ForeignConfigOptions, foreignConfig, InvalidArgumentError, Module } from '@mezzotint/core';
import { Conv2d, upsample2x } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { levelProblems } from '../coder/config.js';
import { checkImage } from '../inputs.js';
import { type LatentScale, scaleProblems } from '../latent-scale.js';

/** Configuration of {@link AutoencoderTiny}. A plain JSON value. */
export interface AutoencoderTinyConfig extends LatentScale {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly latentChannels: number;
  /** Width of every layer of the encoder and of the decoder. */
  readonly encoderChannels: number;
  readonly decoderChannels: number;
  /** Residual blocks a level of the encoder, full resolution first. */
  readonly encoderBlocks: readonly number[];
  /** Residual blocks a level of the decoder, lowest resolution first. */
  readonly decoderBlocks: readonly number[];
  /** Latent numbers within shift +- magnitude become [0, 1] in `latentsToUnit`. */
  readonly latentMagnitude: number;
  readonly latentShift: number;
}

/**
 * A small autoencoder that was distilled to take and give the latent images of a large one: TAESD (Bohan 2023). Only
 * convolutions and ReLU. State dict: diffusers' `AutoencoderTiny`.
 */
export class AutoencoderTiny extends Module {
  readonly config: AutoencoderTinyConfig;
  readonly encoder: TinyEncoder;
  readonly decoder: TinyDecoder;
  /** Pixels of the image a side for one pixel of the latent image, f. */
  readonly downscale: number;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: AutoencoderTinyConfig) {
    super();
    validate(new.target.name, config);
    this.config = config;
    this.downscale = 2 ** (config.encoderBlocks.length - 1);
    this.encoder = new TinyEncoder(config);
    this.decoder = new TinyDecoder(config);
  }

  /**
   * Images `[N, H, W, inChannels]` in [-1, 1] -> latent images `[N, ceil(H/f), ceil(W/f), latentChannels]`, scaled as a
   * diffusion model takes them when scalingFactor is 1, as in the published ones.
   * @throws InvalidArgumentError when the shape does not fit
   */
  encode(x: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'x', x, this.config.inChannels);
    return this.encoder.forward(x);
  }

  /**
   * Latent images `[N, h, w, latentChannels]` -> `[N, h f, w f, outChannels]`.
   * @throws InvalidArgumentError when the shape does not fit
   */
  decode(z: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'z', z, this.config.latentChannels);
    return this.decoder.forward(z);
  }

  /**
   * What the decoder's last convolution, `decoder.lastConv`, sees: `[N, h f, w f, decoderChannels]`. That convolution gives
   * [0, 1]; the image is 2 y - 1. For `adversarialLoss`.
   */
  decoderFeatures(z: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'z', z, this.config.latentChannels);
    return this.decoder.features(z);
  }

  /** Latent numbers as [0, 1], clipped, so that they can be kept in bytes: z / (2 magnitude) + shift. */
  latentsToUnit(z: tf.Tensor4D): tf.Tensor4D {
    const { latentMagnitude, latentShift } = this.config;
    return tf.tidy(() => tf.clipByValue(tf.add<tf.Tensor4D>(tf.div(z, 2 * latentMagnitude), latentShift), 0, 1));
  }

  /** The inverse of `latentsToUnit`, but for what was clipped. */
  latentsFromUnit(unit: tf.Tensor4D): tf.Tensor4D {
    const { latentMagnitude, latentShift } = this.config;
    return tf.tidy(() => tf.mul(tf.sub(unit, latentShift), 2 * latentMagnitude));
  }

  /** The image again: `[N, H, W, inChannels]` -> `[N, H, W, outChannels]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.decode(this.encode(x)));
  }
}

/** Layers by their place in the reference's sequence; places without parameters (ReLU, upsampling) are not there. */
type Layers = Readonly<Record<number, Conv2d | TinyBlock>>;

/** A convolution, then for each level but the first one of stride 2, and residual blocks; a convolution. */
class TinyEncoder extends Module {
  readonly layers: Layers;

  constructor({ inChannels, encoderChannels: c, encoderBlocks, latentChannels }: AutoencoderTinyConfig) {
    super();
    const layers: (Conv2d | TinyBlock)[] = encoderBlocks.flatMap((count, level) => [
      level === 0 ? new Conv2d(inChannels, c, 3) : new Conv2d(c, c, 3, { stride: 2, bias: false }),
      ...blocks(count, c),
    ]);
    this.layers = Object.fromEntries([...layers, new Conv2d(c, latentChannels, 3)].entries());
  }

  /** x `[N, H, W, inChannels]` in [-1, 1], which the layers see in [0, 1] -> `[N, H/f, W/f, latentChannels]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      let h = tf.div<tf.Tensor4D>(tf.add(x, 1), 2);
      for (const layer of Object.values(this.layers)) h = layer.forward(h);
      return h;
    });
  }
}

/** A soft clamp and a convolution, then for each level residual blocks, a step up but for the last, and a convolution. */
class TinyDecoder extends Module {
  readonly layers: Layers;
  readonly #up = new Set<number>();
  readonly #last: number;

  constructor({ latentChannels, decoderChannels: c, decoderBlocks, outChannels }: AutoencoderTinyConfig) {
    super();
    const layers: Record<number, Conv2d | TinyBlock> = { 0: new Conv2d(latentChannels, c, 3) };
    let place = 2; // after the ReLU
    decoderBlocks.forEach((count, level) => {
      for (const block of blocks(count, c)) layers[place++] = block;
      const last = level === decoderBlocks.length - 1;
      if (!last) this.#up.add(++place);
      layers[place++] = new Conv2d(c, last ? outChannels : c, 3, { bias: last });
    });
    this.layers = layers;
    this.#last = place - 1;
  }

  get lastConv(): Conv2d {
    return this.layers[this.#last] as Conv2d;
  }

  /** z `[N, h, w, latentChannels]` -> `[N, h f, w f, outChannels]`; the layers give [0, 1], the result is in [-1, 1]. */
  forward(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => tf.sub<tf.Tensor4D>(tf.mul(this.lastConv.forward(this.features(z)), 2), 1));
  }

  /** What the last convolution sees: z `[N, h, w, latentChannels]` -> `[N, h f, w f, C]`. */
  features(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const clamped = tf.mul<tf.Tensor4D>(tf.tanh(tf.div(z, 3)), 3);
      const { 0: first, ...rest } = this.layers;
      let h = tf.relu(first!.forward(clamped)); //                                     [N, h, w, C]
      for (const [place, layer] of Object.entries(rest)) {
        if (Number(place) === this.#last) break;
        h = layer.forward(this.#up.has(Number(place)) ? upsample2x(h) : h);
      }
      return h; //                                                                    [N, h f, w f, C]
    });
  }
}

/** relu(x + conv(relu(conv(relu(conv(x)))))). `[N,H,W,C] -> [N,H,W,C]`. */
class TinyBlock extends Module {
  readonly conv: { readonly 0: Conv2d; readonly 2: Conv2d; readonly 4: Conv2d };

  constructor(channels: number) {
    super();
    const conv = () => new Conv2d(channels, channels, 3);
    this.conv = { 0: conv(), 2: conv(), 4: conv() };
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const h = tf.relu(this.conv[2].forward(tf.relu(this.conv[0].forward(x))));
      return tf.relu(tf.add<tf.Tensor4D>(x, this.conv[4].forward(h)));
    });
  }
}

function blocks(count: number, channels: number): TinyBlock[] {
  return Array.from({ length: count }, () => new TinyBlock(channels));
}

function validate(who: string, config: AutoencoderTinyConfig): void {
  const { inChannels, outChannels, latentChannels, encoderChannels, decoderChannels } = config;
  const { encoderBlocks, decoderBlocks, latentMagnitude, latentShift } = config;
  const problems = [
    ...countProblems({ inChannels, outChannels, latentChannels, encoderChannels, decoderChannels }),
    ...levelProblems('encoderBlocks', encoderBlocks, 0),
    ...levelProblems('decoderBlocks', decoderBlocks, 0),
    ...scaleProblems(config),
  ];
  if (!(latentMagnitude > 0)) problems.push(`latentMagnitude: expected a positive number, got ${latentMagnitude}`);
  if (!Number.isFinite(latentShift)) problems.push(`latentShift: expected a finite number, got ${latentShift}`);
  if (problems.length === 0) {
    if (encoderBlocks.length !== decoderBlocks.length) {
      problems.push(
        `decoderBlocks: expected as many levels as encoderBlocks, ${encoderBlocks.length}, got ${decoderBlocks.length}`,
      );
    }
    const most = Math.max(...encoderBlocks, ...decoderBlocks);
    if (most > 64) problems.push(`encoderBlocks, decoderBlocks: expected at most 64 a level, got ${most}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}

const keys = {
  defaults: {
    in_channels: 3,
    out_channels: 3,
    encoder_block_out_channels: [64, 64, 64, 64],
    decoder_block_out_channels: [64, 64, 64, 64],
    latent_channels: 4,
    num_encoder_blocks: [1, 3, 3, 3],
    num_decoder_blocks: [3, 3, 3, 1],
    latent_magnitude: 3,
    latent_shift: 0.5,
    scaling_factor: 1,
    shift_factor: 0,
  },
  fixed: { act_fn: 'relu', upsample_fn: 'nearest', upsampling_scaling_factor: 2 },
  ignored: (key: string) => key === 'force_upcast' || key === 'block_out_channels' || key.startsWith('_'),
};

/**
 * Our configuration from the config.json of diffusers' `AutoencoderTiny` (absent keys take that class's defaults).
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function autoencoderTinyFromDiffusers(json: unknown, options: ForeignConfigOptions = {}): AutoencoderTinyConfig {
  const who = 'autoencoderTinyFromDiffusers';
  const read = foreignConfig(who, json, keys, options);
  const width = (key: string) => oneWidth(who, key, read(key));
  return {
    inChannels: read('in_channels') as number,
    outChannels: read('out_channels') as number,
    latentChannels: read('latent_channels') as number,
    encoderChannels: width('encoder_block_out_channels'),
    decoderChannels: width('decoder_block_out_channels'),
    encoderBlocks: read('num_encoder_blocks') as number[],
    decoderBlocks: read('num_decoder_blocks') as number[],
    latentMagnitude: read('latent_magnitude') as number,
    latentShift: read('latent_shift') as number,
    scalingFactor: read('scaling_factor') as number,
    shiftFactor: read('shift_factor') as number,
  };
}

/** The layers of the reference fit each other only when all levels are equally wide. */
function oneWidth(who: string, key: string, widths: unknown): number {
  if (!Array.isArray(widths) || widths.length === 0 || new Set(widths).size !== 1) {
    throw new InvalidArgumentError(
      who,
      `${key}: expected the same width at every level, got ${JSON.stringify(widths)}`,
    );
  }
  return widths[0] as number;
}
