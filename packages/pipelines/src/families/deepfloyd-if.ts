import { InvalidArgumentError, InvalidFileError, textOf } from '@mezzotint/core';
import { noised, type Sampler, samplerFromDiffusers } from '@mezzotint/schedulers';
import { T5EncoderModel, type TextEncoder, t5FromTransformers } from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { openComponent } from '@mezzotint/weights';
import * as tf from '@tensorflow/tfjs-core';
import { cleanCaption } from '../clean-caption.js';
import { type Candidate, type Family, lookAt, type ModelFiles, type OpenContext } from '../family.js';
import { noteCuts } from '../long-prompts.js';
import { ofRequest } from '../low-resolution.js';
import type { RequestKey } from '../request.js';
import type { Batch, EncodeContext, EncodedBatch, Part, PipelineDefinition, Stage } from '../stage.js';
import { stageKeys } from '../stage-settings.js';
import { encodeT5 } from '../t5-text.js';
import { openT5Tokenizer } from '../tokenizers.js';
import { ofVariant } from '../variant.js';
import { openSdFolder, partsOf } from './stable-diffusion/folder.js';
import { sdStage } from './stable-diffusion/stage.js';

/** What IF's networks are given beside image and time. */
type IfConditions = {
  /** States of T5, `[N, 77, D]`. */
  readonly context: tf.Tensor3D;
  /** Stage II: the resized and noised picture, `[N, H, W, 3]`, and its noise level, `[N]`. */
  readonly small?: tf.Tensor4D;
  readonly labels?: tf.Tensor1D;
};

/** Tokens of a prompt: IF was trained with so many. */
const TEXT_LENGTH = 77;

/** What diffusers' pipelines take where nothing is said. */
const STAGES = {
  base: { steps: 100, guidance: 7 },
  upsampler: { steps: 50, guidance: 4, noiseLevel: 250 },
  upscaler: { steps: 75, guidance: 9, noiseLevel: 20 },
} as const;

/** Parts that sampling does not need: the check of the result and the watermark. */
const UNUSED = ['safety_checker', 'feature_extractor', 'watermarker'];

const TAKES: readonly RequestKey[] = [
  ...([
    'prompt',
    'negative',
    'promptCleaning',
    'height',
    'width',
    'guidance',
    'guidanceRescale',
    'guidanceInterval',
    'threshold',
  ] as const),
];

/**
 * DeepFloyd IF's stages I and II from diffusers' folders: stage I alone, stage II alone as an upscaler of pictures, or a cascade
 * with what the option `upsampler` names: stage II, and Stable Diffusion's x4 upscaler as stage III. Pictures come without
 * watermark. https://github.com/deep-floyd/IF; Saharia et al. 2022.
 */
export const deepFloydIf: Family = {
  name: 'DeepFloyd IF',
  recognise: ({ index }) => /^IF\w*Pipeline$/.test(textOf(index?._class_name)),
  open: openIf,
};

/** One of IF's folders. */
interface OpenedIf {
  readonly unet: UNet2DCondition;
  readonly sampler: Sampler;
  /** Noises the small picture; undefined in stage I. */
  readonly noising: Sampler | undefined;
  readonly text: TextEncoder<T5EncoderModel> | undefined;
  readonly size: number;
  readonly parts: readonly Part[];
  close(): void;
}

async function openIf(candidate: Candidate, context: OpenContext): Promise<PipelineDefinition> {
  const open: { close(): void }[] = [];
  const close = () => {
    for (const opened of open) opened.close();
  };
  try {
    const base = await openStage(candidate, context, '');
    open.push(base);
    if (base.text === undefined) {
      throw new InvalidFileError(candidate.files.name, 'has no text_encoder: a prompt cannot be read without T5');
    }
    const { text } = base;
    context.note('pictures come without watermark, and are not checked by the safety checker');
    if (base.noising !== undefined) {
      if (context.options.upsampler !== undefined) {
        throw new InvalidArgumentError(
          'upsampler',
          'is for stage I; this is stage II, which enlarges a picture by itself',
        );
      }
      return { ...aloneAsUpscaler(base, text), close };
    }
    const later = await laterStages(context, base, text, open);
    const stages = [ifStage('stage-1', base, text), ...later.map(({ stage }) => stage)];
    return {
      family: deepFloydIf.name,
      description: `DeepFloyd IF, stage I${later.map(({ about }) => `, ${about}`).join('')}`,
      stages,
      parts: [...base.parts, ...later.flatMap(({ parts }) => parts)],
      takes: [...TAKES, ...(later.length > 0 ? [...stageKeys, 'noiseLevel' as const] : [])],
      sizeUnit: unitOf(base),
      defaults: { height: base.size, width: base.size, promptCleaning: 'full', ...STAGES.base },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Stage II for a picture of the user's own. */
function aloneAsUpscaler(opened: OpenedIf, text: TextEncoder<T5EncoderModel>): Omit<PipelineDefinition, 'close'> {
  const factor = 4;
  return {
    family: deepFloydIf.name,
    description: 'DeepFloyd IF, stage II, which enlarges pictures four times',
    stages: [ifStage('stage-2', opened, text)],
    parts: opened.parts,
    takes: [...TAKES.filter((key) => key !== 'height' && key !== 'width'), 'image', 'noiseLevel'],
    imageIs: 'condition',
    enlarges: factor,
    sizeUnit: Math.max(1, unitOf(opened) / factor),
    defaults: { height: opened.size, width: opened.size, promptCleaning: 'full', ...STAGES.upsampler },
  };
}

interface LaterStage {
  readonly stage: Stage;
  readonly parts: readonly Part[];
  readonly about: string;
}

/** Stage II and the x4 upscaler, in the order of the option `upsampler`. */
async function laterStages(
  { options, files, ...context }: OpenContext,
  base: OpenedIf,
  text: TextEncoder<T5EncoderModel>,
  open: { close(): void }[],
): Promise<LaterStage[]> {
  const { upsampler = [], ...rest } = options;
  const paths = typeof upsampler === 'string' ? [upsampler] : upsampler;
  const later: LaterStage[] = [];
  let enlarged = 1;
  for (const [i, path] of paths.entries()) {
    const candidate = await lookAt(files(path));
    const known = { options: rest, files, ...context };
    if (deepFloydIf.recognise(candidate)) {
      const opened = await openStage(candidate, known, 'upsampler/');
      open.push(opened);
      if (opened.noising === undefined) throw new InvalidFileError(path, 'is stage I of IF; expected stage II');
      enlarged *= opened.size / base.size;
      const stage = ifStage('stage-2', opened, text, enlarged);
      later.push({ stage, parts: opened.parts.filter(({ name }) => name.endsWith('unet')), about: 'stage II' });
    } else if (i > 0 && partsOf(candidate).has('low_res_scheduler')) {
      const opened = await openSdFolder(candidate, known, 'upscaler/');
      open.push(opened);
      const stage = sdStage('stage-3', opened.model);
      enlarged *= opened.model.vae.downscale;
      const scale = enlarged;
      later.push({
        stage: {
          ...stage,
          encodesTextOnly: false,
          defaults: STAGES.upscaler,
          maxNoiseLevel: opened.maxNoiseLevel,
          shape: (settings) =>
            stage.shape({ ...settings, height: settings.height * scale, width: settings.width * scale }),
        },
        parts: opened.parts,
        about: `${opened.description} as stage III`,
      });
    } else {
      const expected = i === 0 ? "IF's stage II" : "Stable Diffusion's x4 upscaler";
      throw new InvalidFileError(path, `is no stage that can follow: expected a folder of ${expected}`);
    }
  }
  return later;
}

/** A stage of IF. `enlarged`: how much larger its pictures are than the settings say; undefined where they have the settings' size. */
function ifStage(name: string, opened: OpenedIf, text: TextEncoder<T5EncoderModel>, enlarged = 1): Stage<IfConditions> {
  const { unet, sampler, noising, parts } = opened;
  const unetPart = parts.find((part) => part.name.endsWith('unet'))!.name;
  const channels = unet.config.inChannels / (noising === undefined ? 1 : 2);
  const shape: Stage['shape'] = ({ height, width }) => [height * enlarged, width * enlarged, channels];
  return {
    name,
    sampler,
    codec: null,
    parts: { encode: ['text_encoder'], sample: [unetPart] },
    start: 'noise',
    defaults: noising === undefined ? STAGES.base : STAGES.upsampler,
    ...(noising !== undefined && { maxNoiseLevel: 999 }),
    // diffusers draws the noise that stage II starts from before that of its small picture.
    noiseBeforeConditions: true,
    shape,
    encode(batch, context) {
      const texts = encodePrompts(text, batch, context);
      return noising === undefined ? texts : withSmall(texts, batch, context, noising, shape(batch.settings));
    },
    network:
      () =>
      (x, time, { small, ...conditions }) =>
        tf.tidy(() => {
          const out = unet.forward(small ? tf.concat([x, small], 3) : x, time, conditions);
          return sampler.learnedVariance ? out : tf.slice(out, [0, 0, 0, 0], [-1, -1, -1, channels]);
        }),
  };
}

/** T5's states of the prompts, cleaned as diffusers cleans them, and of the negative ones where guidance needs them. Tells what is cut. */
function encodePrompts(
  text: TextEncoder<T5EncoderModel>,
  { images, settings }: Batch,
  { previous, note }: Pick<EncodeContext, 'previous' | 'note'>,
): EncodedBatch<IfConditions> {
  const clean =
    settings.promptCleaning === 'lowercase' ? (prompt: string) => prompt.toLowerCase().trim() : cleanCaption;
  const read = (prompts: readonly string[]): IfConditions => {
    const plain = prompts.map(clean);
    // A later stage reads the same.
    if (previous === null) noteCuts(text.tokenizer, plain, TEXT_LENGTH, note);
    const { context, contextMask } = encodeT5(text, plain, TEXT_LENGTH);
    contextMask.dispose();
    return { context };
  };
  return {
    positive: read(images.map(({ prompt }) => prompt)),
    negative: settings.guidance > 1 ? read(images.map(({ negative }) => negative ?? '')) : null,
  };
}

/** The small picture, resized with corners on corners and noised at a level that the network is told. Noise: one draw. */
function withSmall(
  { positive, negative }: EncodedBatch<IfConditions>,
  { images, settings }: Batch,
  { previous, noise }: EncodeContext,
  noising: Sampler,
  [height, width]: readonly [number, number, number],
): EncodedBatch<IfConditions> {
  const { noiseLevel = STAGES.upsampler.noiseLevel } = settings;
  const small = tf.tidy(() => {
    const picture = previous ?? ofRequest(settings.image, images.length, 3, 1);
    const resized = tf.image.resizeBilinear(picture, [height, width], true);
    return noised(resized, noising.levelAt(noiseLevel), noise);
  });
  const labels = () => tf.fill([images.length], noiseLevel) as tf.Tensor1D;
  return {
    positive: { ...positive, small, labels: labels() },
    negative: negative && { ...negative, small: tf.clone(small), labels: labels() },
  };
}

/** Opens a folder; reads configurations and headers only. */
async function openStage(candidate: Candidate, context: OpenContext, prefix: string): Promise<OpenedIf> {
  const { files, index } = candidate;
  const { options, note } = context;
  const components = partsOf(candidate);
  const known = ['unet', 'scheduler', 'text_encoder', 'tokenizer', 'image_noising_scheduler', ...UNUSED];
  const problems = [
    ...['unet', 'scheduler'].filter((part) => !components.has(part)).map((part) => `${part}: missing`),
    ...[...components.keys()].filter((part) => !known.includes(part)).map((part) => `${part}: is not built`),
  ];
  if (problems.length > 0) throw new InvalidFileError(files.name, problems.join('; '));
  const keys = (part: string) =>
    options.strict
      ? {}
      : { report: (key: string) => note(`${part}/config.json: ${key} is no setting of this class; left out`) };
  const json = (await files.json('unet/config.json')) as Readonly<Record<string, unknown>>;
  const unet = new UNet2DCondition(unet2dConditionFromDiffusers(json, keys('unet')));
  const scheduler = async (part: string) =>
    samplerFromDiffusers({
      ...((await files.json(`${part}/scheduler_config.json`)) as object),
      _class_name: components.get(part),
    });
  const noising = components.has('image_noising_scheduler') ? await scheduler('image_noising_scheduler') : undefined;
  const misfits = channelProblems(unet, noising !== undefined);
  if (misfits.length > 0) throw new InvalidFileError(`${files.name}/unet`, misfits.join('; '));
  const open: { close(): void }[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  const part = async (name: string, module: Part['module']): Promise<Part> => {
    const file = await ofVariant(files, name, options.variant, note);
    open.push(file);
    return { name: `${prefix}${name}`, module, weights: openComponent(file).weights };
  };
  try {
    const sampler = await scheduler('scheduler');
    const parts = [await part('unet', unet)];
    const text = prefix === '' && components.has('text_encoder') ? await openText(files) : undefined;
    if (text !== undefined) parts.push(await part('text_encoder', text.encoder));
    const width = unet.config.textWidth ?? unet.config.contextWidth;
    if (text !== undefined && text.encoder.config.width !== width) {
      throw new InvalidFileError(files.name, `T5 gives ${text.encoder.config.width} channels, the UNet takes ${width}`);
    }
    return { unet, sampler, noising, text, size: sizeOf(json, index), parts, close };
  } catch (error) {
    close();
    throw error;
  }
}

function channelProblems(
  { config: { inChannels, outChannels, classes } }: UNet2DCondition,
  enlarges: boolean,
): string[] {
  const image = inChannels / (enlarges ? 2 : 1);
  return [
    ...(outChannels === 2 * image
      ? []
      : [`expected ${2 * image} channels out, noise and variance, got ${outChannels}`]),
    ...(enlarges === (classes === 'time')
      ? []
      : [`expected ${enlarges ? 'the noise level as a class (class_embed_type: timestep)' : 'no classes'}`]),
  ];
}

async function openText(files: ModelFiles): Promise<TextEncoder<T5EncoderModel>> {
  const encoder = new T5EncoderModel(t5FromTransformers(await files.json('text_encoder/config.json')));
  const tokenizer = await openT5Tokenizer(files, 'tokenizer');
  if (tokenizer === undefined) {
    throw new InvalidFileError(
      files.name,
      'has no tokenizer: neither tokenizer/spiece.model nor tokenizer/tokenizer.json',
    );
  }
  return { encoder, tokenizer };
}

/** Pixels a side of the pictures; diffusers' pipelines need it in the file. */
function sizeOf({ sample_size: size }: Readonly<Record<string, unknown>>, index: Candidate['index']): number {
  if (typeof size === 'number' && Number.isInteger(size) && size > 0) return size;
  throw new InvalidFileError(
    textOf(index?._class_name),
    `unet/config.json: expected sample_size in pixels, got ${JSON.stringify(size)}`,
  );
}

function unitOf({ unet }: OpenedIf): number {
  return 2 ** (unet.config.blockChannels.length - 1);
}
