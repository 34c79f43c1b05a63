import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkConfig } from '@mezzotint/app';
import { architectureOfKind } from '@mezzotint/architectures';
import { InvalidArgumentError, type ModelSize, readNetworkConfig } from '@mezzotint/core';
import { openDataset, readLatentsIndex } from '@mezzotint/data';
import { defaultRecipe, recipeNamed } from '@mezzotint/training';
import type { TrainFlags } from './command.js';
import type {
  DiffusionTask,
  SuperResolutionTask,
  TrainConfig,
  WholeConfig,
  WholeDiffusionTask,
  WholeSuperResolutionTask,
} from './config.js';
import { trainConfigSchema } from './config.js';
import { findInit, type InitSource } from './init-weights.js';
import { schedulerProcess } from './scheduler-process.js';
import { isStableDiffusion, nativeSizeOf, UNET_BLOCKS } from './stable-diffusion/open.js';

/** What `--preset` stands for: pixels at most, updates, batch. */
const presets: Readonly<Record<ModelSize, { size: number; steps: number; batchSize: number }>> = {
  small: { size: 32, steps: 4000, batchSize: 32 },
  medium: { size: 64, steps: 20_000, batchSize: 32 },
  large: { size: 128, steps: 100_000, batchSize: 32 },
};

/** Sides that networks take well. */
const sides = [8, 16, 32, 64, 128, 256];

/**
 * The configuration of `--data` and `--preset`, for those who have none of their own: a class-conditional (or, without classes,
 * unconditional) diffusion model of the data's pictures.
 */
export async function configFromFlags(flags: TrainFlags): Promise<TrainConfig> {
  const { data, preset = 'small' } = flags;
  if (data === undefined) {
    throw new InvalidArgumentError(
      '--data',
      "expected pictures: a folder, a .tar archive or 'digits' (or --config with a configuration, or --resume)",
    );
  }
  if (!(preset in presets)) {
    throw new InvalidArgumentError('--preset', `expected small, medium or large, got '${preset}'`);
  }
  const chosen = presets[preset as ModelSize];
  if (flags.init !== undefined && isStableDiffusion(flags.init)) return fineTuning(flags, flags.init, data);
  const misplaced = (['prompt', 'token', 'initializer', 'priorPrompt'] as const).filter(
    (name) => flags[name] !== undefined,
  );
  if (misplaced.length > 0) {
    throw new InvalidArgumentError(
      misplaced.map((name) => (name === 'priorPrompt' ? '--prior-prompt' : `--${name}`)).join(', '),
      'is for --init with a folder of Stable Diffusion 1 or 2',
    );
  }
  const init = flags.init === undefined ? undefined : findInit(flags.init);
  const size = flags.size ?? init?.own?.image.size ?? 0;
  const flips = flags.flip === true ? { flip: true } : {};
  const { count, classes, captioned, ...clean }: Source =
    data === 'digits'
      ? { kind: 'digits', count: 8000, classes: 10, captioned: 0, ...flips }
      : isLatents(data)
        ? { ...latentsOf(data), ...flips }
        : await folderOf(data, size, chosen.size, init?.own?.image.channels, flags);
  const steps = flags.steps ?? chosen.steps;
  const conditions = conditionsOf(flags, init, preset as ModelSize, captioned / count);
  const often = (fraction: number, least: number) => Math.min(500, Math.max(least, Math.ceil(steps * fraction)));
  return fromFlags({
    task: 'diffusion',
    data: clean,
    ...learner(flags, init, preset, { ...clean, classes, reads: conditions !== undefined }),
    ...(conditions && { conditions }),
    steps,
    batchSize: flags.batchSize ?? Math.min(chosen.batchSize, count),
    ...(flags.seed !== undefined && { seed: flags.seed }),
    ...(flags.init !== undefined && { init: { from: flags.init } }),
    ...(flags.lora !== undefined && { lora: { rank: flags.lora } }),
    // A grid costs as much as tens of updates: short runs draw few.
    every: { log: Math.min(20, Math.ceil(steps / 100)), sample: often(0.1, 200), checkpoint: often(0.05, 20) },
  });
}

/** Fine-tuning of a Stable Diffusion: a LoRA, a token or the whole UNet, by the flags. */
async function fineTuning(flags: TrainFlags, model: string, path: string): Promise<TrainConfig> {
  const { lora, token, initializer, prompt, priorPrompt, steps = token === undefined ? 1000 : 3000 } = flags;
  if (token !== undefined && initializer === undefined) {
    throw new InvalidArgumentError('--initializer', `expected a word that ${token} begins as, such as cat`);
  }
  if (path === 'digits')
    throw new InvalidArgumentError('--data', 'expected pictures in colour: a folder or a .tar archive');
  const every = Math.max(1, Math.ceil(steps / 5));
  return fromFlags({
    task: 'stable-diffusion',
    model,
    data: {
      ...{ kind: 'folder', path, size: flags.size ?? (await nativeSizeOf(model)), labels: 'none' },
      ...(flags.flip === true && { flip: true }),
    },
    steps,
    batchSize: flags.batchSize ?? 1,
    ...(flags.seed !== undefined && { seed: flags.seed }),
    ...(prompt !== undefined && { prompt }),
    ...(lora !== undefined && { lora: { rank: lora } }),
    ...(token !== undefined && { token: { text: token, initializer } }),
    ...(priorPrompt !== undefined && { prior: { prompt: priorPrompt } }),
    every: { log: Math.min(20, Math.ceil(steps / 100)), sample: every, checkpoint: Math.min(500, every) },
    checkpointGradients: token === undefined ? [...UNET_BLOCKS] : [],
  });
}

/** @throws InvalidFileError that names every value which no configuration has */
function fromFlags(config: object): TrainConfig {
  return checkConfig('the configuration that these flags make', config, trainConfigSchema);
}

/** Data of a configuration, and what is in it. */
interface Source {
  readonly kind: string;
  readonly size?: number;
  readonly count: number;
  readonly classes: number;
  readonly captioned: number;
}

/** A folder that `train encode` made. */
function isLatents(path: string): boolean {
  return existsSync(join(path, 'index.json')) && !existsSync(join(path, 'config.json'));
}

function latentsOf(path: string): Source & { readonly path: string } {
  const { count, classes, captions } = readLatentsIndex(path);
  const captioned = captions.filter((own) => own.length > 0).length;
  return { kind: 'latents', path, count, classes: classes.length, captioned };
}

/**
 * How captions condition the network: not at all where fewer than half of the pictures have one, or where a model to begin with or an
 * architecture that is asked for reads none.
 */
function conditionsOf(
  { captions = true, textEncoder, architecture }: TrainFlags,
  init: InitSource | undefined,
  preset: ModelSize,
  captioned: number,
): object | undefined {
  const own = init?.own?.text?.encoders.map(({ folder, length, skip }) => ({
    ...{ from: join(dirname(init.file), folder), length, skip },
  }));
  const able = own !== undefined || (init === undefined && (architecture === undefined || readsTexts(architecture)));
  const wanted = captions && able && captioned >= 0.5;
  if (!wanted && textEncoder !== undefined) {
    throw new InvalidArgumentError(
      '--text-encoder',
      captioned < 0.5
        ? 'fewer than half of the pictures have a caption'
        : able
          ? 'expected no --no-captions beside it'
          : `${architecture ?? 'the model to begin with'} reads no texts`,
    );
  }
  if (!wanted) return undefined;
  const encoders = textEncoder === undefined ? (own ?? [{ new: preset }]) : [{ from: textEncoder }];
  return { kind: 'captions', encoders };
}

/** Whether an architecture has a form that reads texts. */
function readsTexts(name: string): boolean {
  const record = architectureOfKind('denoiser', name);
  const text = { imageSize: 16, channels: 3, classes: null, contextWidth: 64, contextTokens: 8, pooledWidth: 64 };
  try {
    const config = record.sized?.('small', text);
    return config !== undefined && record.signature(config).conditions.context !== undefined;
  } catch (error) {
    if (InvalidArgumentError.isInstance(error)) return false; // It takes no text, and says so.
    throw error;
  }
}

/** A folder as data: its size that of the pictures, at most the preset's; gray where every looked-at picture is not decided here. */
async function folderOf(path: string, asked: number, most: number, channels: number | undefined, flags: TrainFlags) {
  const { examples, classes, captioned } = await openDataset(path, {
    folderClasses: flags.classes === false ? 'never' : 'auto',
  });
  const shorter = examples.map(({ height, width }) => Math.min(height, width)).sort((a, b) => a - b);
  const typical = shorter[Math.floor(shorter.length / 10)]!; // nine of ten are not smaller
  const fitting = sides.filter((side) => side <= Math.min(most, Math.max(typical, 8)));
  const heldOut = examples.length >= 50 ? 0.05 : 0;
  return {
    ...{ kind: 'folder', path, size: asked > 0 ? asked : fitting.at(-1)!, heldOut },
    channels: flags.channels ?? channels ?? 3,
    ...(flags.flip === true && { flip: true }),
    ...(flags.classes === false && { labels: 'none' }),
    count: Math.max(1, examples.length - Math.ceil(heldOut * examples.length)),
    classes: flags.classes === false ? 0 : classes.length,
    captioned,
  };
}

/**
 * Architecture, network and recipe: what flags say, else those of the model to begin with, else of the preset a UNet for pictures and, with
 * captions Stable Diffusion's UNet, or of latent images MM-DiT.
 */
function learner(
  flags: TrainFlags,
  init: InitSource | undefined,
  preset: string,
  { kind, size, classes, reads }: Pick<Source, 'kind' | 'size' | 'classes'> & { readonly reads: boolean },
): object {
  const from = init?.own ?? init?.foreign;
  if (from === undefined || (flags.architecture !== undefined && flags.architecture !== from.architecture)) {
    const usual = reads ? (kind === 'latents' ? 'MMDiT' : 'UNet2DCondition') : 'ADMUNet';
    const architecture = flags.architecture ?? usual;
    return { architecture, network: preset, recipe: flags.recipe ?? recipeFor(architecture) };
  }
  const record = architectureOfKind('denoiser', from.architecture);
  const before = readNetworkConfig(record, from.network);
  const old = before as Readonly<Record<string, unknown>>;
  const known = (values: object) => Object.fromEntries(Object.entries(values).filter(([key]) => key in old));
  // The classes of a network that reads texts are no number.
  const { classes: counted, conditions } = record.signature(before);
  const counts = conditions.context === undefined && (counted !== null || old.classes === null);
  const labels = classes === 0 ? { classes: null, nullLabel: false } : { classes, nullLabel: true };
  return {
    architecture: from.architecture,
    network: { ...old, ...known({ ...(size && { imageSize: size }), ...(counts && labels) }) },
    ...(flags.recipe === undefined ? learningOf(init!, from.architecture, old) : { recipe: flags.recipe }),
  };
}

/** How a model to begin with was trained: by its process where it says one, by the recipe that is usual for it where not. */
function learningOf(
  { own, foreign }: InitSource,
  architecture: string,
  network: Readonly<Record<string, unknown>>,
): object {
  if (own?.process) return { process: own.process };
  const usual = recipeOfModel(architecture, network);
  const scheduler = foreign?.scheduler;
  if (scheduler === undefined) return { recipe: usual };
  const { time } = architectureOfKind('denoiser', architecture);
  const process = schedulerProcess(scheduler, { time, learnedVariance: learnsVariance(network) });
  // DDPM's recipe is that of eps; of v and x0 the process alone says the loss.
  const recipe =
    process.kind === 'discrete' && process.prediction === 'eps' && (process.learnedVariance ? usual : 'ddpm');
  return { process, ...(recipe && { recipe }) };
}

/** The name of a configuration's recipe; that of its process when it names none. */
export function recipeOf({
  task,
  recipe,
  process,
  weighting,
  architecture,
}: Pick<DiffusionTask | SuperResolutionTask, 'task' | 'recipe' | 'process' | 'weighting' | 'architecture'>): string {
  const enlarges = task === 'super-resolution' && (process === undefined || process.kind === 'log-snr');
  const named = recipe ?? (enlarges ? 'imagen' : undefined);
  if (named !== undefined) {
    if (weighting !== 'uniform') {
      const whose = recipe === undefined ? `, which ${task} has where none is named,` : '';
      throw new InvalidArgumentError(
        'weighting',
        `the recipe ${named}${whose} has its own weights, expected uniform or another recipe, got '${weighting}'`,
      );
    }
    return named;
  }
  if (process?.kind === 'edm' || process?.kind === 'flow' || process?.kind === 'log-snr') {
    if (weighting !== 'uniform') {
      throw new InvalidArgumentError(
        'weighting',
        `a process of kind ${process.kind} has its own weights, got '${weighting}'`,
      );
    }
    return { edm: 'edm', flow: 'flow', 'log-snr': 'simple-diffusion' }[process.kind];
  }
  if (process?.kind === 'discrete' && process.learnedVariance) {
    if (process.prediction !== 'eps' || weighting !== 'uniform') {
      throw new InvalidArgumentError(
        'process',
        'learned variance is trained with eps prediction and uniform weighting',
      );
    }
    return 'improved-ddpm';
  }
  if (process === undefined && weighting === 'uniform') return recipeFor(architecture);
  return weighting === 'min-snr' ? 'min-snr' : 'v-cosine';
}

/** The recipe of a model to begin with: one that learns the variance where the model has channels for it. */
function recipeOfModel(architecture: string, network: Readonly<Record<string, unknown>>): string {
  if (learnsVariance(network)) return architecture === 'DiT' ? 'dit' : 'improved-ddpm';
  return recipeFor(architecture);
}

function learnsVariance({ inChannels, outChannels }: Readonly<Record<string, unknown>>): boolean {
  return typeof inChannels === 'number' && outChannels === 2 * inChannels;
}

/** The recipe of an architecture where none is said. */
function recipeFor(architecture: string): string {
  return defaultRecipe(architectureOfKind('denoiser', architecture));
}

/** A configuration with what its recipe and its number of updates fill in, which a longer run then keeps. */
export function wholeConfig(asked: TrainConfig, imageSize: number): WholeConfig {
  const config = { ...asked, ema: { ...asked.ema, decay: emaDecay(asked) } };
  if (config.task === 'stable-diffusion') {
    const peak = config.token ? 5e-4 : config.lora ? 1e-4 : 5e-6; // those of diffusers' scripts
    const constant = { kind: 'constant', peak, warmUp: 0, end: 0, after: 1000 } as const;
    return { ...config, learningRate: config.learningRate ?? constant };
  }
  if (config.task !== 'diffusion' && config.task !== 'super-resolution') return config;
  const recipe = recipeNamed(recipeOf(config));
  const { time } = architectureOfKind('denoiser', config.architecture);
  const process = config.process ?? recipe.process({ imageSize, time });
  const rate = recipe.learningRate;
  const whole = {
    ...config,
    process: process as WholeDiffusionTask['process'],
    optimizer: config.optimizer ?? { ...recipe.optimizer, betas: [...recipe.optimizer.betas] },
    learningRate: config.learningRate ?? {
      ...rate,
      ...{
        warmUp: Math.min(500, Math.ceil(config.steps / 20)),
        end: 0,
        after: Math.max(1, Math.ceil(config.steps / 3)),
      },
    },
    // A text says more than a class, and is followed less by itself.
    sampling: config.sampling ?? {
      ...recipe.sampling,
      ...('conditions' in config && config.conditions && { guidance: 3 }),
    },
  };
  return whole as WholeDiffusionTask | WholeSuperResolutionTask;
}

/** Whether the batch size is one that a configuration has for other pictures: where `--data` has fewer, a smaller one is taken. */
export function takesFittingBatch({ config, data, batchSize }: TrainFlags): boolean {
  return config !== undefined && data !== undefined && batchSize === undefined;
}

/**
 * A configuration of flags that do not say the batch size takes a smaller one where damaged pictures leave fewer than it counted, and
 * one of other pictures than those of `--data` does where there are fewer.
 *
 * @throws InvalidArgumentError when a batch size that was asked for is larger than the data
 */
export function withFittingBatch(config: TrainConfig, flags: TrainFlags, count: number): TrainConfig {
  const { batchSize, data } = config;
  if (batchSize <= count || (data.kind === 'folder' && data.buckets !== undefined)) return config;
  const own = flags.config === undefined && flags.batchSize === undefined;
  if (flags.resume !== true && (own || takesFittingBatch(flags))) return { ...config, batchSize: count };
  const what = flags.batchSize === undefined ? 'batchSize' : '--batch-size';
  const hint = flags.resume === true || flags.batchSize !== undefined ? '' : ` (--batch-size ${count})`;
  throw new InvalidArgumentError(
    what,
    `expected at most ${count}, the pictures that are trained on${hint}, got ${batchSize}`,
  );
}

/** The decay of the averaged weights: the configuration's, or none in fine-tuning, or one whose memory is a tenth of the run. */
export function emaDecay({ ema, steps, task }: Pick<TrainConfig, 'ema' | 'steps' | 'task'>): number {
  if (ema.decay === undefined && task === 'stable-diffusion') return 0;
  return ema.decay ?? Math.min(0.9999, Math.max(0, 1 - 10 / steps));
}
