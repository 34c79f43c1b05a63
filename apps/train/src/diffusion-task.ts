import { join } from 'node:path';
import { type DiffusionConfig, saveModel } from '@mezzotint/app';
import { architectureOfKind } from '@mezzotint/architectures';
import {
  type DenoisingNetwork,
  InvalidArgumentError,
  Module,
  type NetworkSignature,
  type RandomStream,
} from '@mezzotint/core';
import { AUGMENT_LABELS, edmAugment, stackPictures, writePng } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import { forceWeightNormalization, takesNormsOfWeights } from '@mezzotint/layers';
import { type Pipeline, pipelineOfNetwork, type Request } from '@mezzotint/pipelines';
import type { EncodedCaptions } from '@mezzotint/text-encoders';
import { dropLabels, LoraAdapter, type LossInput, layPlain, recipeNamed, trainableParams } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { CODEC, copyCodec, openCodecModel } from './codec-files.js';
import type { WholeDiffusionTask } from './config.js';
import { recipeOf } from './defaults.js';
import { weightsHash } from './frozen.js';
import { saveLora } from './lora-files.js';
import { checkNetworkFits, dataShape, loraDefaults, networkConfig } from './network-config.js';
import type { Task } from './task.js';
import { openTextConditions, type TextConditions } from './text-conditions.js';
import type { TrainingBatch, TrainingData } from './training-data.js';

/** What a batch is conditioned on. */
type Conditions = Partial<EncodedCaptions> & {
  readonly labels?: tf.Tensor1D;
  readonly augment?: tf.Tensor2D;
};

/** A network whose loss may be weighed by an uncertainty that it learns (EDM2). */
type Uncertain = { logVariance?(noise: tf.Tensor1D): tf.Tensor1D; readonly logvar_linear?: unknown };

/**
 * A diffusion or flow model of any registered architecture, by any recipe: of pictures or of latent images, conditioned on classes, on
 * captions or on nothing.
 */
export async function diffusionTask(config: WholeDiffusionTask, data: TrainingData): Promise<Task> {
  const architecture = architectureOfKind('denoiser', config.architecture);
  const { process } = config;
  const learnedVariance = process.kind === 'discrete' && process.learnedVariance;
  const texts = config.conditions && (await openTextConditions(config.conditions, data.captions, config.seed));
  const shape = { ...dataShape(data), ...(texts && { classes: null, ...contextShape(texts) }) };
  const network = networkConfig(architecture, config.network, { ...shape, learnedVariance });
  const signature = architecture.signature(network);
  const unconditional = signature.classes === null;
  const classes = unconditional ? [] : data.classes;
  checkNetworkFits(signature, { ...shape, learnedVariance, ...(unconditional && { classes: null }) });
  checkConditions(config, signature, data, texts);
  const labelDropout = labelDropoutOf(config, signature);
  const model = architecture.build(network).init(config.seed);
  // EDM's levels are those of data whose deviation is sigmaData; a flow and the chains want 1.
  const scale = data.latents !== undefined && process.kind === 'edm' ? process.sigmaData : 1;
  const modelConfig: DiffusionConfig = {
    format: 'mezzotint/diffusion@1',
    architecture: architecture.name,
    network: network as Record<string, unknown>,
    image: data.latents?.image ?? { size: data.height, channels: data.channels as 1 | 3 },
    ...(data.latents && {
      latents: { mean: [...data.latents.mean], deviation: data.latents.deviation.map((value) => value / scale) },
    }),
    ...(texts && { text: texts.config }),
    classes: [...classes],
    process,
    sampling: config.sampling,
  };
  const autoencoder = data.latents && (await openCodecModel(data.latents.codec));
  const pipeline = pipelineOfNetwork(modelConfig, model, autoencoder, texts?.encoders);
  await pipeline.check(texts ? { prompt: '' } : {});
  const recipe = recipeNamed(recipeOf(config));
  const { density } = config;
  const objective = recipe.objective(
    { imageSize: data.height, time: architecture.time, ...(density && { density }) },
    process,
  );
  const uncertain = model as Uncertain;
  const logVariance =
    recipe.forcedWeightNormalization && uncertain.logvar_linear !== undefined
      ? (noise: tf.Tensor1D) => uncertain.logVariance!(noise)
      : undefined;
  const adapter =
    config.lora && new LoraAdapter(model, { ...config.lora, ...loraDefaults(config.lora, architecture, model) });
  const told = takesAugmentation(network);
  if (config.augment > 0 && !told) {
    throw new InvalidArgumentError(
      'augment',
      `expected 0, as ${architecture.name} cannot be told how a picture was augmented and would learn to make augmented ones, got ${config.augment}`,
    );
  }
  const loss = ({ batch, rng }: Pick<LossInput<TrainingBatch>, 'batch' | 'rng'>, training: boolean) =>
    tf.tidy(() => {
      const augmented = training && told ? edmAugment(batch.images, batch.shape, rng, config.augment) : undefined;
      const images = tf.tensor4d(augmented?.images ?? batch.images, [...batch.shape]);
      const x0 = scale === 1 ? images : tf.mul<tf.Tensor4D>(images, scale);
      const cond: Conditions = {
        ...texts?.read(signature, batch.captions ?? [], rng, training),
        ...(!unconditional && {
          labels: tf.tensor1d(dropLabels(batch.labels, classes.length, training ? labelDropout : 0, rng), 'int32'),
        }),
        ...(augmented && { augment: tf.tensor2d(augmented.labels, [batch.shape[0], AUGMENT_LABELS]) }),
      };
      return objective(networkOf(model, training ? rng : undefined), { x0, cond }, rng, logVariance);
    });
  const rows = gridRows(pipeline, config, data);
  const together =
    texts && Object.keys(texts.trained).length > 0 ? new TrainedTogether(model, texts.trained) : undefined;

  return {
    model: together ?? model,
    ...(together && { network: model }),
    notes: notesOf(config, data, texts),
    ...(texts && { frozen: texts.frozen }),
    ...(autoencoder && { codec: await weightsHash(autoencoder) }),
    ...(texts?.vocabulary !== undefined && {
      vocabulary: { hash: texts.vocabulary, beginWith: (run: string) => beginWith(run, texts) },
    }),
    ...(adapter && {
      adapter,
      saveAdapter: async (run: string) => [`LoRA: ${(await saveLora(run, adapter, architecture.name)).join(', ')}`],
    }),
    loss: (input) => (adapter === undefined ? loss(input, true) : adapter.apply(() => loss(input, true))),
    validate: (batch, rng) => loss({ batch, rng }, false),
    hooks: [
      ...(takesNormsOfWeights(model) ? [{ beforeForward: () => layPlain(trainableParams(model).values()) }] : []),
      // The weights under an adapter stay those of the model that it will be loaded onto.
      ...(recipe.forcedWeightNormalization && adapter === undefined
        ? [{ beforeForward: () => forceWeightNormalization(model) }]
        : []),
    ],
    async save(folder, { half }) {
      await saveModel(folder, modelConfig, model, { half, overwrite: true });
      if (data.latents) await copyCodec(data.latents.codec, join(folder, CODEC));
      await texts?.save(folder, { half });
    },
    async report(step, folder, signal) {
      await sampleGrid(pipeline, rows, join(folder, `step-${String(step).padStart(7, '0')}.png`), signal);
      return {};
    },
  };
}

/** What the model is conditioned on, where captions are there. */
function notesOf(
  { conditions }: WholeDiffusionTask,
  { captioned, count, classes }: TrainingData,
  texts: TextConditions | undefined,
): string[] {
  if (captioned === 0) return [];
  if (conditions === undefined || texts === undefined) {
    return [`${captioned} of ${count} pictures have captions, which this network does not read.`];
  }
  const by = texts.encoders.map(({ encoder, length, trained }) => {
    return `${encoder.constructor.name} (${length} tokens, ${trained ? 'trained along' : 'as it is'})`;
  });
  const without =
    captioned < count ? ` The ${count - captioned} pictures without a caption teach what is made without one.` : '';
  const instead =
    classes.length > 0
      ? ` The ${classes.length} classes are not used (--no-captions: they are, and captions are not).`
      : '';
  return [`The network is conditioned on the captions, read by ${by.join(' and ')}.${without}${instead}`, ...texts.cut];
}

/** A network and the text encoders that are trained along with it, as one model: of one optimizer, one average, one checkpoint. */
class TrainedTogether extends Module {
  constructor(
    readonly network: Module,
    readonly text: Readonly<Record<string, Module>>,
  ) {
    super();
  }
}

/** The lines of a configuration that begins with the text encoders and the weights of a run. */
function beginWith(run: string, { config: { encoders } }: TextConditions): string {
  const own = encoders.map(({ folder }) => `{"from": "${join(run, 'model', folder)}", "trained": true}`);
  return `"conditions": {"kind": "captions", "encoders": [${own.join(', ')}]}, "init": {"from": "${run}"}`;
}

/** What a network is built for to read captions. */
export function contextShape({ shape: { tokens, width, pooledWidth } }: TextConditions) {
  return { contextTokens: tokens, contextWidth: width, pooledWidth };
}

/** Throws unless the network's conditions are those that the configuration and the data give. */
function checkConditions(
  { architecture, lora, density, process, conditions }: WholeDiffusionTask,
  signature: NetworkSignature,
  { captioned, count }: TrainingData,
  texts: TextConditions | undefined,
): void {
  const problems: string[] = [];
  const given = ['labels', ...(texts ? ['context', 'contextMask', 'pooled'] : [])];
  const needed = Object.keys(signature.conditions).filter((name) => !given.includes(name));
  if (needed.includes('context')) {
    problems.push(`conditions: ${architecture} reads texts; say by which encoders, with kind captions`);
  } else if (needed.length > 0) {
    problems.push(`architecture: this ${architecture} takes ${needed.join(', ')}, which nothing here gives`);
  }
  if (texts && signature.conditions.context === undefined) {
    problems.push(`conditions: this ${architecture} reads no texts`);
  }
  if (texts && captioned === 0) problems.push(`conditions: none of the ${count} pictures has a caption`);
  if (lora && conditions?.encoders.some((one) => 'new' in one || one.trained)) {
    problems.push(
      'lora: an adapter is trained in the place of everything else: expected text encoders that are not trained',
    );
  }
  if (density && process.kind !== 'flow' && process.kind !== 'edm') {
    problems.push(`density: is of flows and of EDM's process, got a process of kind ${process.kind}`);
  } else if (density && (density.kind === 'log-normal') !== (process.kind === 'edm')) {
    problems.push(
      `density: log-normal is of EDM's process, the others of flows; got ${density.kind} for a process of kind ${process.kind}`,
    );
  }
  if (problems.length > 0) throw new InvalidArgumentError('configuration', problems);
}

/** The network as objectives call it. */
function networkOf(model: DenoisingNetwork, rng: RandomStream | undefined) {
  return (x: tf.Tensor4D, time: tf.Tensor1D, cond: Conditions) =>
    model.forward(x, time, { ...cond, ...(rng && { rng }) });
}

/** Whether a network is told how its pictures were augmented: EDM's have a width for it. */
function takesAugmentation(network: unknown): boolean {
  const { unet, augmentWidth } = network as { unet?: { augmentWidth?: unknown }; augmentWidth?: unknown };
  return (unet?.augmentWidth ?? augmentWidth ?? null) !== null;
}

/** Pictures in a row of a grid, and rows. */
const perRow = 8;
const mostRows = 10;

/** The rows of a grid: prompts, classes, or neither; and what is asked of the pipeline. */
interface GridRows {
  readonly names: readonly string[];
  readonly request: Request;
}

/** Rows of the prompts of a configuration, or of the first captions that are held out; of the first classes; or 64 pictures. */
function gridRows(pipeline: Pipeline, { conditions }: WholeDiffusionTask, data: TrainingData): GridRows {
  if (conditions !== undefined) {
    const [held, own] = [data.heldOut?.captions ?? [], data.captions].map((all) =>
      all.flatMap(([first]) => first ?? []),
    );
    const captions = held!.length > 0 ? held! : own!;
    const names = conditions.prompts.length > 0 ? conditions.prompts : [...new Set(captions)].slice(0, mostRows);
    return { names, request: { prompt: [...names], count: perRow } };
  }
  const names = pipeline.classes.slice(0, mostRows);
  const request = names.length === 0 ? { count: 64 } : { labels: names.map((_, label) => label), count: perRow };
  return { names, request };
}

async function sampleGrid(
  pipeline: Pipeline,
  { names, request }: GridRows,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const { images } = await pipeline.generate({ ...request, seed: 0, batch: 40 }, { signal });
  const grid = imageGrid(stackPictures(images), {
    columns: perRow,
    scale: images[0]!.width < 64 ? 2 : 1,
    ...(names.length > 0 && { rowLabels: [...names] }),
  });
  await writePng(file, grid, { overwrite: true });
}

/** How often labels are dropped: 0.1 when the configuration does not say, where the network has a null label. */
export function labelDropoutOf(
  { labelDropout }: Pick<WholeDiffusionTask, 'labelDropout'>,
  { nullLabel, classes }: NetworkSignature,
): number {
  if (nullLabel || !labelDropout) return labelDropout ?? (nullLabel ? 0.1 : 0);
  const why = classes === null ? 'has no labels' : 'has no null label (nullLabel: false)';
  throw new InvalidArgumentError('labelDropout', `expected 0, as the network ${why}, got ${labelDropout}`);
}
