import type { AutoencoderKL } from '@mezzotint/autoencoders';
import { InvalidFileError, textOf } from '@mezzotint/core';
import { intervalOfSteps, layersAt, scaleInInterval, skipLayer, together } from '@mezzotint/guidance';
import { MMDiT, mmditFromDiffusers, mmditFromShapes } from '@mezzotint/mmdit';
import { flowMatchSampler, type Guide } from '@mezzotint/schedulers';
import {
  type ClipTextModelWithProjection,
  encodeSd3Prompts,
  type Sd3TextEncoders,
  type T5EncoderModel,
  type TextEncoder,
  type Tokenizer,
} from '@mezzotint/text-encoders';
import type * as tf from '@tensorflow/tfjs-core';
import { klCodec, type LatentRgb } from '../../codec.js';
import type { Candidate, Family, OpenContext } from '../../family.js';
import { type Note, noteCuts } from '../../long-prompts.js';
import type { RequestKey, Settings } from '../../request.js';
import type { Batch, EncodedBatch, GuideContext, PipelineDefinition, Stage } from '../../stage.js';
import { partsOf } from '../stable-diffusion/folder.js';
import { type MmditPlan, type OpenedPart, openParts, T5_FILES } from './parts.js';

/** What MM-DiT is given beside image and time. */
type Sd3Conditions = {
  readonly context: tf.Tensor3D;
  readonly pooled: tf.Tensor2D;
};

const PLAN: MmditPlan = {
  pipelines: ['StableDiffusion3Pipeline', 'StableDiffusion3Img2ImgPipeline', 'StableDiffusion3InpaintPipeline'],
  transformerClass: 'SD3Transformer2DModel',
  transformer: (given) =>
    new MMDiT('config' in given ? mmditFromDiffusers(given.config) : mmditFromShapes(given.tensors)),
  latents: { scalingFactor: 1.5305, shiftFactor: 0.0609 },
  parts: [
    { name: 'transformer', kind: 'transformer', about: 'MM-DiT', lora: 'denoiser', files: [] },
    { name: 'vae', kind: 'vae', about: 'the autoencoder', files: ['sd3_vae.safetensors', 'vae.safetensors'] },
    {
      ...{ name: 'text_encoder', kind: 'clip-projected', about: 'CLIP-L', optional: true, tokenizer: 'tokenizer' },
      ...{ lora: 'text_encoder', files: ['clip_l.safetensors'] },
    },
    {
      ...{ name: 'text_encoder_2', kind: 'clip-projected', about: 'CLIP-G', optional: true, tokenizer: 'tokenizer_2' },
      ...{ lora: 'text_encoder_2', files: ['clip_g.safetensors'] },
    },
    {
      ...{ name: 'text_encoder_3', kind: 't5', about: 'T5-XXL', optional: true, tokenizer: 'tokenizer_3' },
      ...{ lora: 'text_encoder_3' },
      files: T5_FILES,
    },
  ],
} as const;

/** Stable Diffusion 3 and 3.5: folders of diffusers and single files. Esser et al. 2024 (arXiv 2403.03206). */
export const stableDiffusion3: Family = {
  name: 'Stable Diffusion 3, 3.5',
  recognise: (candidate) =>
    partsOf(candidate).get('transformer') === PLAN.transformerClass ||
    candidate.single?.components.get('transformer')?.model === 'sd3',
  open: openSd3,
};

const TAKES: readonly RequestKey[] = [
  ...([
    'prompt',
    'negative',
    'secondPrompt',
    'secondNegative',
    'thirdPrompt',
    'thirdNegative',
    'height',
    'width',
    'guidance',
    'guidanceRescale',
  ] as const),
  ...([
    'skipLayers',
    'skipLayerScale',
    'skipLayerInterval',
    'clipSkip',
    'textLength',
    'promptSyntax',
    'longPrompts',
  ] as const),
  ...(['image', 'mask', 'pasteBack', 'strength'] as const),
];

/** The published folders' scheduler. */
const SCHEDULER = { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 };

/** Tokens of T5 in diffusers' pipeline where nothing is said. */
const TEXT_LENGTH = 256;

async function openSd3(candidate: Candidate, context: OpenContext): Promise<PipelineDefinition> {
  const { index, files } = candidate;
  if (index !== null && !PLAN.pipelines.includes(textOf(index._class_name))) {
    throw new InvalidFileError(
      files.name,
      `is a folder of ${textOf(index._class_name)}, which is not built; known are ${PLAN.pipelines.join(', ')}`,
    );
  }
  const model = await openParts(candidate, context, PLAN);
  const part = (name: 'transformer' | 'vae' | 'text_encoder' | 'text_encoder_2' | 'text_encoder_3') =>
    model.opened.get(name);
  const transformer = part('transformer')!.module as MMDiT;
  const vae = part('vae')!.module as AutoencoderKL;
  const { patchSize, inChannels, contextWidth, pooledWidth, depth, positionGrid } = transformer.config;
  const clip = (opened: OpenedPart | undefined) => opened && encoderOf<ClipTextModelWithProjection>(opened);
  const [clipL, bigG] = [clip(part('text_encoder')), clip(part('text_encoder_2'))];
  const t5 = part('text_encoder_3') && encoderOf<T5EncoderModel>(part('text_encoder_3')!);
  const texts: Sd3TextEncoders = {
    ...(clipL && { clipL }),
    ...(bigG && { bigG }),
    ...(t5 && { t5 }),
    contextWidth,
    pooledWidth,
  };
  const problems = problemsOf(texts, vae, inChannels);
  if (problems.length > 0) {
    model.close();
    throw new InvalidFileError(files.name, problems.join('; '));
  }
  const sampler = flowMatchSampler(model.scheduler ?? SCHEDULER, { levels: 'grid', timeScale: 1000 });
  const codec = klCodec(vae, RGB);
  const unit = codec.downscale * patchSize;
  const maxSize = positionGrid * unit;
  const side = Math.min(1024, maxSize);
  const stage: Stage<Sd3Conditions> = {
    name: 'transformer',
    sampler,
    codec,
    parts: {
      encode: [...model.opened.keys()].filter((name) => name.startsWith('text_encoder')),
      sample: ['transformer'],
    },
    start: 'noise',
    strengthRounds: 'ceil',
    shape: ({ height, width }) => [height / codec.downscale, width / codec.downscale, codec.channels],
    tokens: ({ height, width }) => (height / unit) * (width / unit),
    encode: (batch, { note }) => encode(texts, batch, note),
    encodesTextOnly: true,
    network: () => (x, time, conditions) => transformer.forward(x, time, conditions),
    module: transformer,
    guide: (context) => guideOf(transformer, context),
  };
  return {
    family: stableDiffusion3.name,
    description: [`${nameOf(transformer)}`, model.origin].filter(Boolean).join('; '),
    stages: [stage],
    parts: model.parts,
    takes: TAKES,
    sizeUnit: unit,
    maxSize,
    defaults: { height: side, width: side, steps: 28, guidance: 7, textLength: TEXT_LENGTH },
    check: ({ skipLayers = [], skipLayerScale, skipLayerInterval, guidance }) => [
      ...skipLayers
        .filter((layer) => layer >= depth)
        .map((layer) => `skipLayers: there is no block ${layer}, they are 0 to ${depth - 1}`),
      ...(skipLayers.length > 0 && guidance <= 1 ? ['skipLayers: needs a guidance above 1, which it is added to'] : []),
      ...(skipLayers.length === 0 && (skipLayerScale !== undefined || skipLayerInterval !== undefined)
        ? ['skipLayerScale and skipLayerInterval need skipLayers']
        : []),
    ],
    close: model.close,
  };
}

/** An opened text encoder with its tokenizer. */
export function encoderOf<E>({ module, tokenizer }: OpenedPart): TextEncoder<E> {
  return { encoder: module as E, tokenizer: tokenizer! };
}

function problemsOf(
  { clipL, bigG, t5, contextWidth, pooledWidth }: Sd3TextEncoders,
  vae: AutoencoderKL,
  channels: number,
): string[] {
  const problems: string[] = [];
  if (!clipL && !bigG && !t5)
    problems.push('has no text encoder; the option parts names a folder with clip_l, clip_g and t5xxl');
  const pooled = [clipL, bigG].map((text) => text?.encoder.text_projection?.weight.shape[0]);
  if (clipL && bigG && (pooled[0] ?? 0) + (pooled[1] ?? 0) !== pooledWidth) {
    problems.push(
      `CLIP-L and CLIP-G give ${pooled.join(' and ')} pooled channels (with text_projection), the transformer takes ${pooledWidth}`,
    );
  }
  if (t5 && t5.encoder.config.width !== contextWidth) {
    problems.push(`T5 gives ${t5.encoder.config.width} channels, the transformer takes ${contextWidth}`);
  }
  if (vae.config.latentChannels !== channels) {
    problems.push(`the VAE has ${vae.config.latentChannels} channels, the transformer ${channels}`);
  }
  return problems;
}

/** What the published models are called, by their settings. */
function nameOf({ config: { depth, qkNorm, dualAttentionLayers } }: MMDiT): string {
  if (qkNorm === 'none') return depth === 24 ? 'Stable Diffusion 3 medium' : `Stable Diffusion 3 (depth ${depth})`;
  const size = dualAttentionLayers.length > 0 ? 'medium' : 'large';
  return `Stable Diffusion 3.5 ${size}${depth === 24 || depth === 38 ? '' : ` (depth ${depth})`}`;
}

/**
 * Positive and negative prompts; the negative ones are not read where guidance has no use for them. Tells what is cut.
 */
function encode(texts: Sd3TextEncoders, { images, settings }: Batch, note: Note): EncodedBatch<Sd3Conditions> {
  const options = textOptions(settings);
  const first = images.map(({ prompt }) => prompt);
  const second = images.map(({ prompt, secondPrompt }) => secondPrompt ?? prompt);
  const third = images.map(({ prompt, thirdPrompt }) => thirdPrompt ?? prompt);
  noteUnread(texts, { first, second, third }, settings, note);
  const positive = encodeSd3Prompts(texts, first, {
    ...{ ...options, secondPrompts: second, thirdPrompts: third },
    skip: settings.clipSkip ?? 0,
  });
  if (settings.guidance <= 1) return { positive, negative: null };
  const none = images.map(({ negative }) => negative ?? '');
  const secondNone = images.map(({ negative, secondNegative }) => secondNegative ?? negative ?? '');
  const thirdNone = images.map(({ negative, thirdNegative }) => thirdNegative ?? negative ?? '');
  noteUnread(texts, { first: none, second: secondNone, third: thirdNone }, settings, note);
  // diffusers takes the penultimate layer for the negative prompt, whatever clip_skip is.
  const negative = encodeSd3Prompts(texts, none, { ...options, secondPrompts: secondNone, thirdPrompts: thirdNone });
  return { positive, negative };
}

/** Quotes what each text encoder does not read of its prompts. */
function noteUnread(
  { clipL, bigG, t5 }: Sd3TextEncoders,
  { first, second, third }: Readonly<Record<'first' | 'second' | 'third', readonly string[]>>,
  settings: Settings,
  note: Note,
): void {
  const clip = clipL ?? bigG;
  if (clip && settings.longPrompts !== 'chunks') {
    const read = [...(clipL ? first : []), ...(bigG ? second : [])];
    noteCutOfClip(clip.tokenizer, read, note, ' (longPrompts: chunks reads it all)');
  }
  if (t5) noteCutOfT5(t5.tokenizer, third, settings, note);
}

/** Quotes what CLIP does not read of prompts. */
export function noteCutOfClip(tokenizer: Tokenizer, prompts: readonly string[], note: Note, advice = ''): void {
  noteCuts(tokenizer, prompts, tokenizer.maxLength, note, { reader: ', which CLIP reads', advice });
}

/** Quotes what T5 does not read of prompts. */
export function noteCutOfT5(
  tokenizer: Tokenizer,
  prompts: readonly string[],
  { textLength = TEXT_LENGTH }: Settings,
  note: Note,
): void {
  const advice = textLength < tokenizer.maxLength ? ` (textLength: up to ${tokenizer.maxLength})` : '';
  noteCuts(tokenizer, prompts, textLength, note, { reader: ', which T5 reads', advice });
}

/** How prompts are read, as the settings say. */
export function textOptions({ promptSyntax, longPrompts, textLength }: Settings) {
  return {
    syntax: promptSyntax === 'weighted' ? ('weights' as const) : ('plain' as const),
    ...(longPrompts !== 'chunks' && { maxChunks: 1 }),
    t5Length: textLength ?? TEXT_LENGTH,
  };
}

/** Scale and steps of skip-layer guidance in diffusers' pipeline. */
const SKIP_LAYER = { scale: 2.8, interval: [0.01, 0.2] } as const;

/** u + g (c - u), and + s (c - c without some blocks) in steps i with from n < i < to n. */
function guideOf(transformer: MMDiT, { settings, schedule, free }: GuideContext<Sd3Conditions>) {
  const { skipLayers, skipLayerScale = SKIP_LAYER.scale } = settings;
  const count = schedule.sigma.length - 1;
  const [from, to] = settings.skipLayerInterval ?? SKIP_LAYER.interval;
  const first = Math.floor(count * from) + 1;
  const last = Math.min(Math.ceil(count * to) - 1, count - 1);
  if (free === undefined || skipLayers === undefined || first > last) return free;
  const layers = layersAt(
    transformer,
    skipLayers.map((layer) => `joint_blocks.${layer}`),
  );
  const scale = scaleInInterval(skipLayerScale, intervalOfSteps(schedule, first, last), 0);
  const guide: Guide<Sd3Conditions> = (plain) =>
    together(plain, [free, (shared) => skipLayer(shared, { scale, layers })]);
  return guide;
}

/** Colours of the latent channels, as ComfyUI has them (comfy/latent_formats.py). */
const RGB: LatentRgb = {
  rows: [
    [-0.0922, -0.0175, 0.0749],
    [0.0311, 0.0633, 0.0954],
    [0.1994, 0.0927, 0.0458],
    [0.0856, 0.0339, 0.0902],
    [0.0587, 0.0272, -0.0496],
    [-0.0006, 0.1104, 0.0309],
    [0.0978, 0.0306, 0.0427],
    [-0.0042, 0.1038, 0.1358],
    [-0.0194, 0.002, 0.0669],
    [-0.0488, 0.013, -0.0268],
    [0.0922, 0.0988, 0.0951],
    [-0.0278, 0.0524, -0.0542],
    [0.0332, 0.0456, 0.0895],
    [-0.0069, -0.003, -0.081],
    [-0.0596, -0.0465, -0.0293],
    [-0.1448, -0.1463, -0.1189],
  ],
  bias: [0.2394, 0.2135, 0.1925],
};
