import { InvalidArgumentError, type Module, type Preset, StateShapes, type WeightSource } from '@mezzotint/core';
import {
  adm64,
  adm64To256Upsampler,
  adm128,
  adm128To512Upsampler,
  adm256,
  adm256Uncond,
  adm512,
  admClassifier64,
  admClassifier128,
  admClassifier256,
  admClassifier512,
} from '../presets/adm.js';
import { iddpm64, iddpm64Cond, iddpm64To256Upsampler, iddpmCifar10, iddpmLsun256 } from '../presets/ddpm.js';
import type { ADMUNetConfig, ClassifierConfig, EncoderConfig, HeadRule } from './config.js';
import { validateClassifierConfig, validateUNetConfig } from './validate.js';

type Tensors = WeightSource['tensors'];
type UNetPreset = Preset<Module & { readonly config: ADMUNetConfig }>;

/** What neither names nor shapes of guided-diffusion's files say. */
export interface ADMFileSettings {
  /** Pixels a side; 8 at the lowest level when absent, as in ADM's models. */
  readonly imageSize?: number;
  /** Heads of every attention. */
  readonly heads?: number;
  /** Channels of a head, in the place of `heads`; 64 when both are absent, or one head where 64 do not fit. */
  readonly headChannels?: number;
  /** `legacy` when absent, as in all published models but ADM 64. */
  readonly attentionOrder?: 'new' | 'legacy';
  /** Groups of the norms; 32 when absent. */
  readonly groups?: number;
  /** Residual blocks a level of a classifier, whose names do not tell them from steps between levels; 2 when absent. */
  readonly resBlocks?: number;
}

const networks: readonly UNetPreset[] = [
  ...[adm64, adm128, adm256, adm256Uncond, adm512],
  ...[iddpmCifar10, iddpm64, iddpm64Cond, iddpmLsun256],
];
const upsamplers: readonly UNetPreset[] = [adm64To256Upsampler, adm128To512Upsampler, iddpm64To256Upsampler];
const classifiers = [admClassifier64, admClassifier128, admClassifier256, admClassifier512] as const;

/**
 * The configuration of a network of guided-diffusion (Dhariwal and Nichol 2021) from the names and shapes of its file, which
 * has none beside it: that of the published model with the same tensors, else what names, shapes and `settings` say.
 *
 * @returns `upsampler` is true for a `SuperResModel`, whose `inChannels` count the image only
 * @throws InvalidArgumentError when it is no such network, or a setting is unknown or does not fit
 */
export function admFromShapes(
  tensors: Tensors,
  settings: ADMFileSettings = {},
): { readonly config: ADMUNetConfig; readonly upsampler: boolean } {
  const who = 'admFromShapes';
  checkKeys(who, settings);
  if (Object.keys(settings).length === 0) {
    const known = published([...networks, ...upsamplers], tensors);
    if (known !== undefined) return { config: known.config, upsampler: upsamplers.includes(known) };
  }
  const shapes = new StateShapes(tensors);
  const outChannels = shapes.axis('out.2.weight', 0);
  const seen = shapes.axis('input_blocks.0.0.weight', 1);
  // Images have 1, 3 or (latent) 4 channels; twice as many are an image and a low-resolution one.
  const upsampler = [2, 6, 8].includes(seen);
  const outputs = blocks(tensors, 'output_blocks');
  const steps = [...tensors.keys()].filter((name) =>
    /^output_blocks\.\d+\.[12]\.(conv|in_layers\.2)\.weight$/.test(name),
  );
  const gaps = Array.from({ length: outputs }, (_, i) => `input_blocks.${i}`).filter((stage) => !shapes.has(stage));
  const levels = (steps.length || gaps.length) + 1;
  const encoder = encoderOf(shapes, { levels, resBlocks: outputs / levels - 1 }, settings);
  shapes.check(who);
  const config: ADMUNetConfig = {
    ...encoder,
    inChannels: upsampler ? seen / 2 : seen,
    outChannels,
    headsUp: encoder.heads,
    classes: shapes.has('label_emb.weight') ? shapes.axis('label_emb.weight', 0) : null,
    nullLabel: false,
  };
  validateUNetConfig(who, config);
  return { config, upsampler };
}

/**
 * The preset, such as `adm-64`, whose tensors a file of guided-diffusion or improved-diffusion has, null when it is of none. Files do not say
 * the forward process that they were trained on; of published ones it is known.
 */
export function publishedADM(tensors: Tensors): string | null {
  return published([...networks, ...upsamplers], tensors)?.name ?? null;
}

/**
 * The same for guided-diffusion's noisy classifier with an attention pool.
 *
 * @throws InvalidArgumentError when it is no such network, or a setting is unknown or does not fit
 */
export function noisyClassifierFromShapes(tensors: Tensors, settings: ADMFileSettings = {}): ClassifierConfig {
  const who = 'noisyClassifierFromShapes';
  checkKeys(who, settings);
  if (Object.keys(settings).length === 0) {
    const known = published(classifiers, tensors);
    if (known !== undefined) return known.config;
  }
  const shapes = new StateShapes(tensors);
  const { resBlocks = 2 } = settings;
  const levels = blocks(tensors, 'input_blocks') / (resBlocks + 1);
  if (!Number.isInteger(levels)) {
    throw new InvalidArgumentError(
      who,
      `resBlocks: ${resBlocks} residual blocks a level do not divide the encoder's stages`,
    );
  }
  const side = Math.sqrt(shapes.axis('out.2.positional_embedding', 1) - 1);
  const config: ClassifierConfig = {
    ...encoderOf(shapes, { levels, resBlocks }, { imageSize: side * 2 ** (levels - 1), ...settings }),
    pool: 'attention',
    classes: shapes.axis('out.2.c_proj.weight', 0),
  };
  shapes.check(who);
  validateClassifierConfig(who, config);
  return config;
}

/** The published model whose tensors these are. */
function published<P extends Preset>(presets: readonly P[], tensors: Tensors): P | undefined {
  return presets.find((preset) => {
    const { missing, unexpected, mismatched } = preset.build().compare({ tensors });
    return missing.length + unexpected.length + mismatched.length === 0;
  });
}

/** Stages of a half of the network; those that pool have no tensors. */
function blocks(tensors: Tensors, half: string): number {
  const numbers = [...tensors.keys()]
    .filter((name) => name.startsWith(`${half}.`))
    .map((name) => Number(name.split('.')[1]));
  return Math.max(-1, ...numbers) + 1;
}

function encoderOf(
  shapes: StateShapes,
  { levels, resBlocks }: { readonly levels: number; readonly resBlocks: number },
  settings: ADMFileSettings,
): EncoderConfig {
  const all = Array.from({ length: levels }, (_, level) => level);
  const modelChannels = shapes.axis('time_embed.0.weight', 1);
  const first = (level: number) => `input_blocks.${1 + level * (resBlocks + 1)}`;
  const widths = all.map((level) => shapes.axis(`${first(level)}.0.out_layers.3.weight`, 0));
  const attends = all.filter((level) => shapes.has(`${first(level)}.1.qkv`));
  const step = `input_blocks.${resBlocks + 1}.0`;
  const { imageSize = 8 * 2 ** (levels - 1), groups = 32, attentionOrder = 'legacy' } = settings;
  return {
    ...{ imageSize, groups, attentionOrder, modelChannels, resBlocks },
    inChannels: shapes.axis('input_blocks.0.0.weight', 1),
    channelMult: widths.map((width) => width / modelChannels),
    attentionResolutions: attends.map((level) => 2 ** level),
    heads: headsOf(settings, [...attends.map((level) => widths[level]!), widths.at(-1)!]),
    timeConditioning:
      shapes.axis('input_blocks.1.0.emb_layers.1.weight', 0) === 2 * widths[0]! ? 'scale-shift' : 'additive',
    resampling: levels > 1 && !shapes.has(step) ? 'pool' : shapes.has(`${step}.op`) ? 'conv' : 'residual',
    dropout: 0,
  };
}

function headsOf({ heads, headChannels }: ADMFileSettings, widths: readonly number[]): HeadRule {
  if (headChannels !== undefined) return { channels: headChannels };
  if (heads !== undefined) return { count: heads };
  return widths.every((width) => width % 64 === 0) ? { channels: 64 } : { count: 1 };
}

const known = ['imageSize', 'heads', 'headChannels', 'attentionOrder', 'groups', 'resBlocks'];

function checkKeys(who: string, settings: object): void {
  const unknown = Object.keys(settings).filter((key) => !known.includes(key));
  if (unknown.length === 0) return;
  throw new InvalidArgumentError(
    who,
    unknown.map((key) => `${key}: unknown setting; a file can be given ${known.join(', ')}`),
  );
}
