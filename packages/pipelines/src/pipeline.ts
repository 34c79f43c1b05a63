import { InvalidArgumentError } from '@mezzotint/core';
import { type LoadPart, Parts } from './parts.js';
import type { GeneratedImage } from './pictures.js';
import { prepared, type ReadImage, sizeUnitOf } from './prepare.js';
import type { Request, RequestKey, Settings } from './request.js';
import { type PipelineStep, type RunHooks, runPipeline } from './run-pipeline.js';
import type { Batch, ImageJob, PipelineDefinition } from './stage.js';

/** A model that makes pictures. */
export interface Pipeline {
  readonly family: string;
  readonly description: string;
  readonly notes: readonly string[];
  /** The settings that `generate` takes of this model, beside the common ones. */
  readonly takes: readonly RequestKey[];
  /** What the model's makers say of settings that a request leaves out. */
  readonly defaults: Request;
  /** Names of the classes of a model with labels. */
  readonly classes: readonly string[];
  /**
   * For a model that enlarges a picture: how many times, what the small picture's sides are multiples of, and the side that it was
   * trained with; null for other models.
   */
  readonly upscaling: { readonly factor: number; readonly unit: number; readonly size: number } | null;
  /** The request with everything filled in. Throws as `check`. */
  settings(request: Request): Promise<Settings>;
  /**
   * Checks a request without reading weights.
   *
   * @throws InvalidArgumentError with everything that does not fit
   */
  check(request: Request): Promise<void>;
  /** The pictures that a request makes, in order and without making them, or those of a shard. Throws as `check`. */
  jobs(request: Request, hooks?: Pick<RunHooks, 'shard'>): Promise<readonly ImageJob[]>;
  /** Makes the pictures of a request. */
  generate(request: Request, hooks?: RunHooks): Promise<{ readonly images: readonly GeneratedImage[] }>;
  /** The same step by step. */
  steps(request: Request, hooks?: RunHooks): AsyncGenerator<PipelineStep, void, undefined>;
  /** Frees the weights and closes the files. */
  dispose(): void;
}

/** What a pipeline is made with. */
export interface PipelineOptions {
  readonly load?: LoadPart;
  /** Frees each model as soon as its work is done; it is loaded again when needed. */
  readonly freeText?: boolean | undefined;
  /** Reads a picture file. */
  readonly readImage?: ReadImage;
}

/** The pipeline of a definition. */
export function createPipeline(definition: PipelineDefinition, options: PipelineOptions = {}): Pipeline {
  const parts = new Parts(definition.parts, options.load);
  const { family, description, takes, defaults, classes = [], notes = [] } = definition;
  const prepare = (request: Request) => prepared(definition, request, options.readImage);
  const steps: Pipeline['steps'] = async function* (request, hooks = {}) {
    const whole = await prepare(request);
    const batches = batchesOf(whole.batches, hooks);
    if (batches.length === 0) return;
    yield* runPipeline(definition, parts, { ...whole, batches }, hooks, options.freeText === true);
  };
  return {
    family,
    description,
    notes,
    takes,
    defaults,
    classes,
    upscaling: upscalingOf(definition),
    settings: async (request) => (await prepare(request)).settings,
    check: async (request) => void (await prepare(request)),
    jobs: async (request, hooks = {}) =>
      batchesOf((await prepare(request)).batches, hooks).flatMap(({ images }) => images),
    async generate(request, hooks) {
      const images: GeneratedImage[] = [];
      for await (const step of steps(request, hooks)) images.push(...(step.images ?? []));
      return { images };
    },
    steps,
    dispose() {
      parts.dispose();
      definition.close();
    },
  };
}

function upscalingOf(definition: PipelineDefinition): Pipeline['upscaling'] {
  const { imageIs, enlarges: factor, defaults } = definition;
  if (imageIs !== 'condition' || factor === undefined) return null;
  return { factor, unit: sizeUnitOf(definition), size: defaults.height / factor };
}

/** All batches, or part i of n of them. */
function batchesOf(all: readonly Batch[], { shard }: Pick<RunHooks, 'shard'>): readonly Batch[] {
  if (shard === undefined) return all;
  const [i, n] = shard;
  if (!Number.isInteger(i) || !Number.isInteger(n) || i < 0 || i >= n) {
    throw new InvalidArgumentError('shard', `expected i from 0 to n - 1, got ${i} of ${n}`);
  }
  return all.slice(Math.floor((i * all.length) / n), Math.floor(((i + 1) * all.length) / n));
}
