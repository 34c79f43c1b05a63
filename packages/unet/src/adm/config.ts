/** How many heads an attention layer has: a fixed number, or as many as there are groups of `channels` channels. */
export type HeadRule = { readonly count: number } | { readonly channels: number };

/**
 * What the UNet and the classifier share: the encoder of ADM (Dhariwal and Nichol 2021, "Diffusion models beat GANs on
 * image synthesis", section 3), which with other settings is that of DDPM and Improved DDPM. A plain JSON value.
 */
export interface EncoderConfig {
  /** Pixels a side that the model is made for; the forward pass takes every size that the levels divide. */
  readonly imageSize: number;
  /** Channels of the image. */
  readonly inChannels: number;
  /** Base width C; the time embedding has 4 C. */
  readonly modelChannels: number;
  /** Width of each level as a multiple of C, full resolution first; each level below has half the pixels a side. */
  readonly channelMult: readonly number[];
  /** Residual blocks a level in the encoder; the decoder has one more. */
  readonly resBlocks: number;
  /** Levels with attention, by downsampling factor (1 = full resolution, 2, 4, ...). The middle always has it. */
  readonly attentionResolutions: readonly number[];
  /** Heads of the attention of encoder and middle. */
  readonly heads: HeadRule;
  /** How the 3C channels of `qkv` are laid out: `new` q|k|v and then heads, `legacy` heads and then q|k|v. */
  readonly attentionOrder: 'new' | 'legacy';
  /** How the time enters a block: GroupNorm(h) (1 + scale) + shift (ADM), or h + shift (DDPM). */
  readonly timeConditioning: 'scale-shift' | 'additive';
  /** How levels are joined: residual blocks that resample, convolutions, or average pooling and nearest neighbour. */
  readonly resampling: 'residual' | 'conv' | 'pool';
  /** Groups of every GroupNorm. */
  readonly groups: number;
  /** Dropout rate inside residual blocks; applied only when a forward pass is given an `rng`. */
  readonly dropout: number;
}

/** Configuration of {@link UNet}. */
export interface ADMUNetConfig extends EncoderConfig {
  /** Channels out; twice the image's when the variance is learned (the second half is the variance share). */
  readonly outChannels: number;
  /** Heads of the attention of the decoder. */
  readonly headsUp: HeadRule;
  /** Classes, the null label not counted; null for an unconditional model. */
  readonly classes: number | null;
  /** A row behind those of the classes, the label `classes`, that means "no label" (classifier-free guidance). */
  readonly nullLabel: boolean;
}

/** How a classifier ends: see {@link NoisyClassifier}. */
export type ClassifierPool = 'attention' | 'adaptive' | 'spatial' | 'spatial_v2';

/** Configuration of {@link NoisyClassifier}. */
export interface ClassifierConfig extends EncoderConfig {
  readonly pool: ClassifierPool;
  /** Number of classes, the width of the logits. */
  readonly classes: number;
}

/** Width of the hidden layer of the spatial heads. */
export const spatialWidth = 2048;

/** Number of heads over `channels` channels. */
export function headCount(rule: HeadRule, channels: number): number {
  return 'count' in rule ? rule.count : channels / rule.channels;
}

/** Channels of each level. */
export function levelChannels({ modelChannels, channelMult }: EncoderConfig): number[] {
  return channelMult.map((mult) => mult * modelChannels);
}

/** What the pixels a side are divided by at the lowest level; every image size must be a multiple of it. */
export function totalDownsampling({ channelMult }: EncoderConfig): number {
  return 2 ** (channelMult.length - 1);
}
