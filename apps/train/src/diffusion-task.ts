import { join } from 'node:path';
import type { DiffusionConfig } from '@mezzotint/app';
import { architectureOfKind } from '@mezzotint/architectures';
import { type DenoisingNetwork, InvalidArgumentError, type NetworkSignature, type RandomStream } from '@mezzotint/core';
import { AUGMENT_LABELS, edmAugment, stackPictures, writePng } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import { forceWeightNormalization } from '@mezzotint/layers';
import { type Pipeline, pipelineOfNetwork } from '@mezzotint/pipelines';
import { dropLabels, LoraAdapter, type LossInput, recipeNamed } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import type { WholeDiffusionTask } from './config.js';
import { recipeOf } from './defaults.js';
import { checkNetworkFits, dataShape, networkConfig } from './network-config.js';
import type { Task } from './task.js';
import type { TrainingBatch, TrainingData } from './training-data.js';

/** What a batch is conditioned on. */
interface Conditions {
  readonly labels?: tf.Tensor1D;
  readonly augment?: tf.Tensor2D;
}

/** A network whose loss may be weighed by an uncertainty that it learns (EDM2). */
type Uncertain = { logVariance?(noise: tf.Tensor1D): tf.Tensor1D; readonly logvar_linear?: unknown };

/** A class-conditional or unconditional diffusion or flow model of any registered architecture, by any recipe. */
export async function diffusionTask(config: WholeDiffusionTask, data: TrainingData): Promise<Task> {
  const architecture = architectureOfKind('denoiser', config.architecture);
  const { process } = config;
  const learnedVariance = process.kind === 'discrete' && process.learnedVariance;
  const shape = dataShape(data);
  const network = networkConfig(architecture, config.network, { ...shape, learnedVariance });
  const signature = architecture.signature(network);
  const unconditional = signature.classes === null;
  const classes = unconditional ? [] : data.classes;
  checkNetworkFits(signature, unconditional ? { ...shape, classes: null } : shape);
  const labelDropout = labelDropoutOf(config, signature);
  const model = architecture.build(network).init(config.seed);
  const modelConfig: DiffusionConfig = {
    format: 'mezzotint/diffusion@1',
    architecture: architecture.name,
    network: network as Record<string, unknown>,
    image: { size: data.height, channels: data.channels },
    classes: [...classes],
    process,
    sampling: config.sampling,
  };
  const pipeline = pipelineOfNetwork(modelConfig, model);
  await pipeline.check({});
  const recipe = recipeNamed(recipeOf(config));
  const objective = recipe.objective({ imageSize: data.height, time: architecture.time }, process);
  const uncertain = model as Uncertain;
  const logVariance =
    recipe.forcedWeightNormalization && uncertain.logvar_linear !== undefined
      ? (noise: tf.Tensor1D) => uncertain.logVariance!(noise)
      : undefined;
  const adapter =
    config.lora && new LoraAdapter(model, { ...config.lora, alpha: config.lora.alpha ?? config.lora.rank });
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
      const x0 = tf.tensor4d(augmented?.images ?? batch.images, [...batch.shape]);
      const cond: Conditions = {
        ...(!unconditional && {
          labels: tf.tensor1d(dropLabels(batch.labels, classes.length, labelDropout, rng), 'int32'),
        }),
        ...(augmented && { augment: tf.tensor2d(augmented.labels, [batch.shape[0], AUGMENT_LABELS]) }),
      };
      return objective(networkOf(model, training ? rng : undefined), { x0, cond }, rng, logVariance);
    });

  return {
    model,
    modelConfig,
    ...(adapter && { adapter }),
    loss: (input) => (adapter === undefined ? loss(input, true) : adapter.apply(() => loss(input, true))),
    validate: (batch, rng) => loss({ batch, rng }, false),
    ...(recipe.forcedWeightNormalization && { hooks: [{ beforeForward: () => forceWeightNormalization(model) }] }),
    async report(step, folder, signal) {
      await sampleGrid(pipeline, join(folder, `step-${String(step).padStart(7, '0')}.png`), signal);
      return {};
    },
  };
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

/** Rows of a grid: the first ten classes, eight pictures each; or 64 pictures. */
const perLabel = 8;

async function sampleGrid(pipeline: Pipeline, file: string, signal: AbortSignal): Promise<void> {
  const shown = pipeline.classes.slice(0, 10);
  const asked = shown.length === 0 ? { count: 64 } : { labels: shown.map((_, label) => label), count: perLabel };
  const { images } = await pipeline.generate({ ...asked, seed: 0, batch: 40 }, { signal });
  const grid = imageGrid(stackPictures(images), {
    columns: perLabel,
    scale: images[0]!.width < 64 ? 2 : 1,
    ...(shown.length > 0 && { rowLabels: [...shown] }),
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
