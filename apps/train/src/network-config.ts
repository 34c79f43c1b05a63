import {
  type Architecture,
  type ConfigOf,
  type DataShape,
  type DenoiserArchitecture,
  InvalidArgumentError,
  type ModelSize,
  type Module,
  type Preset,
  readNetworkConfig,
} from '@mezzotint/core';
import { adaptableLayers, matchesPattern } from '@mezzotint/training';
import type { LoraConfig } from './config.js';
import type { TrainingData } from './training-data.js';

const sizes: readonly string[] = ['small', 'medium', 'large'] satisfies ModelSize[];

/**
 * The network's whole configuration: a preset's, one of a size for these images, or as given.
 *
 * @throws InvalidArgumentError when there is no such preset, or a setting is unknown or missing
 */
export function networkConfig<M extends Module>(
  architecture: Extract<Architecture, { presets: readonly Preset<M>[] }>,
  network: string | Record<string, unknown>,
  data: DataShape,
): ConfigOf<M> {
  if (typeof network !== 'string') return readNetworkConfig<M>(architecture, network);
  if (architecture.sized !== undefined && sizes.includes(network)) {
    return architecture.sized(network as ModelSize, data) as ConfigOf<M>;
  }
  const presets: readonly Preset[] = architecture.presets;
  const preset = presets.find(({ name }) => name === network);
  if (preset !== undefined) return preset.config as ConfigOf<M>;
  const known = [...presets.map(({ name }) => name), ...(architecture.sized === undefined ? [] : sizes)].join(', ');
  throw new InvalidArgumentError(
    'network',
    `expected a preset of ${architecture.name} (${known}) or a configuration, got '${network}'`,
  );
}

/** What a LoRA is where its configuration does not say: of strength 1, and of the attention, or of every layer where there is none. */
export function loraDefaults(
  { rank, alpha = rank, targets }: LoraConfig,
  { attention = ['*attn*'] }: Pick<DenoiserArchitecture, 'attention'>,
  model: Module,
): { alpha: number; targets: readonly string[] } {
  if (targets !== undefined) return { alpha, targets };
  const layers = adaptableLayers(model);
  const found = attention.filter((pattern) => layers.some((path) => matchesPattern(path, pattern)));
  return { alpha, targets: found.length > 0 ? found : ['*'] };
}

/** The shape of a set of images, as networks are built for. */
export function dataShape({ height, width, channels, classes }: TrainingData): DataShape {
  if (height !== width) throw new InvalidArgumentError('data', `images must be square, got ${height} x ${width}`);
  return { imageSize: height, channels, classes: classes.length === 0 ? null : classes.length };
}

/**
 * Throws unless a network of this signature takes such images.
 *
 * @throws InvalidArgumentError with everything that does not fit
 */
export function checkNetworkFits(
  signature: {
    readonly imageSize: number | null;
    readonly sizeMultiple: number | null;
    readonly inChannels: number;
    /** Absent of a classifier. */
    readonly outChannels?: number;
    readonly classes: number | null;
  },
  data: DataShape,
): void {
  const problems: string[] = [];
  const { outChannels, inChannels } = signature;
  const expect = (what: string, got: unknown, expected: unknown) => {
    if (got !== expected) problems.push(`${what} is ${got}, the data needs ${expected}`);
  };
  if (signature.imageSize !== null) expect('imageSize', signature.imageSize, data.imageSize);
  if (signature.sizeMultiple !== null && data.imageSize % signature.sizeMultiple !== 0) {
    problems.push(`it takes sides that ${signature.sizeMultiple} divides, the data has ${data.imageSize}`);
  }
  expect('inChannels', inChannels, data.channels);
  const predicted = data.learnedVariance ? 2 * data.channels : data.channels;
  if (outChannels !== undefined && inChannels === data.channels && outChannels !== predicted) {
    const learns = 'recipes that learn the variance (dit, improved-ddpm)';
    problems.push(
      `outChannels is ${outChannels}, the recipe needs ${predicted}: ${data.learnedVariance ? `${learns} have twice as many` : `twice as many are for ${learns}`}`,
    );
  }
  expect('classes', signature.classes, data.classes);
  if (problems.length > 0) throw new InvalidArgumentError('network', problems);
}
