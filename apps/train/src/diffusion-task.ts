import { join } from 'node:path';
import { checkSampling, type DiffusionConfig, type Process, sampleImages } from '@mezzotint/app';
import { architectureOfKind } from '@mezzotint/architectures';
import { InvalidArgumentError, type NetworkSignature, type RandomStream } from '@mezzotint/core';
import { imageGrid, writePng } from '@mezzotint/data';
import { processOf, type SolverName } from '@mezzotint/schedulers';
import {
  type CleanBatch,
  dropLabels,
  edmLoss,
  epsLoss,
  hybridLoss,
  logNormalSigmas,
  minSnr,
  type NetworkFunction,
  noiseLevels,
  stratified,
  uniformTimesteps,
  vLoss,
  x0Loss,
} from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import type { DiffusionTask } from './config.js';
import { checkNetworkFits, dataShape, networkConfig } from './network-config.js';
import type { Task, TaskData } from './task.js';

const losses = { eps: epsLoss, x0: x0Loss, v: vLoss } as const;

/** Labels of a batch; null for an unconditional network. */
type Labels = tf.Tensor1D | null;

/** A class-conditional or unconditional diffusion model. */
export function diffusionTask(config: DiffusionTask, { images }: TaskData): Task {
  const architecture = architectureOfKind('denoiser', config.architecture);
  const learnedVariance = config.process.kind === 'discrete' && config.process.learnedVariance;
  const data = dataShape(images);
  const network = networkConfig(architecture, config.network, { ...data, learnedVariance });
  const signature = architecture.signature(network);
  const unconditional = signature.classes === null;
  const classes = unconditional ? [] : images.classes;
  checkNetworkFits(signature, unconditional ? { ...data, classes: null } : data);
  const labelDropout = labelDropoutOf(config, signature);
  const model = architecture.build(network).init(config.seed);
  const modelConfig: DiffusionConfig = {
    format: 'mezzotint/diffusion@1',
    architecture: architecture.name,
    network: network as Record<string, unknown>,
    image: { size: images.height, channels: images.channels },
    classes: [...classes],
    process: config.process,
    sampling: config.sampling,
  };
  checkSampling(modelConfig);
  const net = (rng: RandomStream): NetworkFunction<Labels> => {
    return (x, time, labels) => model.forward(x, time, labels === null ? { rng } : { labels, rng });
  };
  const denoising = denoisingLoss(config.process, config.weighting);
  const shown = classes.length > 0 ? classes.map((_, label) => label).slice(0, 10) : [];
  const perLabel = 8;

  return {
    model,
    modelConfig,
    loss: ({ batch: { images: pixels, labels, shape }, rng }) =>
      tf.tidy(() => {
        const kept = unconditional ? null : dropLabels(labels, classes.length, labelDropout, rng);
        const cond = kept === null ? null : tf.tensor1d(kept, 'int32');
        return denoising(net(rng), { x0: tf.tensor4d(pixels, [...shape]), cond }, rng);
      }),
    async report(step, folder, signal) {
      const labels = shown.flatMap((label) => Array<number>(perLabel).fill(label));
      const count = unconditional ? 64 : labels.length;
      const { solver, ...sampling } = config.sampling;
      const sampled = await sampleImages(
        { model, config: modelConfig },
        { ...sampling, solver: solver as SolverName, seed: 0, labels, count, batchSize: 40 },
        { signal },
      );
      const grid = imageGrid(sampled, {
        columns: perLabel,
        scale: images.height < 64 ? 2 : 1,
        ...(!unconditional && { rowLabels: shown.map((label) => classes[label]!) }),
      });
      await writePng(join(folder, `step-${String(step).padStart(7, '0')}.png`), grid, { overwrite: true });
      return {};
    },
  };
}

/** How often labels are dropped: 0.1 when the configuration does not say, where the network has a null label. */
function labelDropoutOf({ labelDropout }: DiffusionTask, { nullLabel, classes }: NetworkSignature): number {
  if (nullLabel || !labelDropout) return labelDropout ?? (nullLabel ? 0.1 : 0);
  const why = classes === null ? 'has no labels' : 'has no null label (nullLabel: false)';
  throw new InvalidArgumentError('labelDropout', `expected 0, as the network ${why}, got ${labelDropout}`);
}

/** The loss of a process: one number for each clean image of a batch. */
function denoisingLoss(
  process: Process,
  weighting: DiffusionTask['weighting'],
): (net: NetworkFunction<Labels>, batch: CleanBatch<Labels>, rng: RandomStream) => tf.Tensor1D {
  if (process.kind === 'edm') {
    if (weighting !== 'uniform')
      throw new InvalidArgumentError('weighting', `EDM has its own weights, got '${weighting}'`);
    const levels = noiseLevels(logNormalSigmas(), stratified);
    return (net, batch, rng) => edmLoss(net, batch, rng, { levels, sigmaData: process.sigmaData });
  }
  const chain = processOf(process);
  if (process.learnedVariance) {
    if (process.prediction !== 'eps' || weighting !== 'uniform') {
      throw new InvalidArgumentError(
        'process',
        'learned variance is trained with eps prediction and uniform weighting',
      );
    }
    return (net, batch, rng) => hybridLoss(net, batch, rng, { process: chain, uniforms: stratified });
  }
  const levels = noiseLevels(uniformTimesteps(chain), stratified);
  const options = weighting === 'min-snr' ? { levels, weight: minSnr()[process.prediction] } : { levels };
  return (net, batch, rng) => losses[process.prediction](net, batch, rng, options);
}
