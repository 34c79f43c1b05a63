import type { JobContext } from '@mezzotint/backend/worker';
import { InvalidArgumentError } from '@mezzotint/core';
import { stackPictures, writePng } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import {
  type GeneratedImage,
  openPipeline,
  type Pipeline,
  type PipelineStep,
  type Progress,
  type Recipe,
  type Request,
  recipeOf,
} from '@mezzotint/pipelines/node';
import * as tf from '@tensorflow/tfjs-core';
import type { SampleSettings } from './settings.js';
import { checkNames, writeSingle } from './write-pictures.js';

/** What the engine's thread is asked for. */
export type PictureRequest = Pick<SampleSettings, 'options' | 'request' | 'replayed'> & {
  readonly shard?: SampleSettings['shard'];
  readonly model: string;
  /** A PNG of the running estimates, written anew after each step. */
  readonly preview?: string | undefined;
  /** Where single pictures are written as soon as their batch ends; when absent all are given back. */
  readonly folder?: { readonly path: string; readonly overwrite: boolean } | undefined;
};

/** Pictures, and all that there is to say of them. */
export interface MadePictures {
  readonly images: readonly GeneratedImage[];
  /** The files of those that were written into the folder and are not in `images`. */
  readonly files: readonly string[];
  readonly recipe: Recipe;
  /** What the model was taken for, and why. */
  readonly description: string;
  /** Names of its classes. */
  readonly classes: readonly string[];
  /** What was left out, cut or overridden. */
  readonly notes: readonly string[];
  /** Seconds until the first picture, and in all, without opening the model. */
  readonly firstSeconds: number;
  readonly seconds: number;
}

/** The engine thread's job: opens the model, makes the pictures and frees the model. */
export async function makePictures(
  { model, options, request: asked, replayed, preview, shard, folder }: PictureRequest,
  { signal, engine, report }: JobContext<Progress>,
): Promise<MadePictures> {
  const pipeline = await openPipeline(model, { freeText: true, ...options });
  try {
    const versions = { tfjs: tf.version_core, [engine.name]: engine.version, node: process.versions.node };
    const request = replayed ? withoutSyntax(asked, pipeline) : asked;
    // All that can be known without weights is checked before minutes go into them.
    const jobs = await pipeline.jobs(request, { shard });
    if (folder !== undefined) checkNames(folder, jobs);
    const inputs = pipeline.inputs();
    if (replayed) checkInputs(replayed, inputs);
    const recipe = await recipeOf(pipeline, {
      model,
      options,
      request,
      inputs,
      engine: { name: engine.name, versions },
    });
    const started = performance.now();
    let firstSeconds = 0;
    const images: GeneratedImage[] = [];
    const files: string[] = [];
    const notes = [...pipeline.notes];
    const hooks = { signal, onProgress: report, onNote: (line: string) => notes.push(line), shard };
    for await (const step of pipeline.steps(request, hooks)) {
      if (preview !== undefined) await writePreview(preview, step);
      if (step.images === null) continue;
      firstSeconds ||= (performance.now() - started) / 1000;
      if (folder === undefined) images.push(...step.images);
      else for (const image of step.images) files.push(await writeSingle(folder, image, recipe));
    }
    const { description, classes } = pipeline;
    const seconds = (performance.now() - started) / 1000;
    return { images, files, recipe, description, classes, notes, firstSeconds, seconds };
  } finally {
    pipeline.dispose();
  }
}

async function writePreview(file: string, step: PipelineStep): Promise<void> {
  const shown = await step.preview();
  if (shown.length === 0) return; // a model whose latent images have no cheap picture
  await writePng(file, imageGrid(stackPictures(shown), { padding: shown.length === 1 ? 0 : 2 }), { overwrite: true });
}

/** Recipes of earlier versions say how prompts are read of every model with prompts, also of one that has no such setting. */
function withoutSyntax({ promptSyntax, ...request }: Request, { takes }: Pipeline): Request {
  return takes.includes('promptSyntax') && promptSyntax !== undefined ? { ...request, promptSyntax } : request;
}

/** Throws an InvalidArgumentError that names every path of a recipe that does not hold what it held. */
export function checkInputs(then: Recipe, now: Readonly<Record<string, string>>): void {
  const changed = Object.entries(then.inputs).filter(([path, hash]) => (now[path] ?? hash) !== hash);
  if (changed.length === 0) return;
  const names = changed.map(([path]) => path).join(', ');
  throw new InvalidArgumentError('--replay', `not what they were when the picture was made: ${names}`);
}
