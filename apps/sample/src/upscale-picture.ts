import type { JobContext } from '@mezzotint/backend/worker';
import { InvalidArgumentError } from '@mezzotint/core';
import { type Bitmap, readImage } from '@mezzotint/data';
import {
  type OpenOptions,
  openPipeline,
  type Recipe,
  type Request,
  recipeOf,
  recipeOfUpscale,
  tilesOf,
  upscale,
} from '@mezzotint/pipelines/node';
import * as tf from '@tensorflow/tfjs-core';
import { checkInputs } from './make-pictures.js';

/** What the engine's thread is asked for. */
export interface UpscaleRequest {
  readonly model: string;
  readonly options: OpenOptions;
  readonly request: Request;
  readonly replayed: Recipe | undefined;
  /** Path of the picture. */
  readonly picture: string;
  readonly tile: number | undefined;
  readonly overlap: number | undefined;
}

/** An enlarged picture, and what there is to say of it. */
export interface UpscaledPicture {
  readonly picture: Bitmap;
  /** Makes the same file again. */
  readonly recipe: Recipe;
  readonly description: string;
  readonly tiles: number;
  readonly notes: readonly string[];
  readonly seconds: number;
  /** The most memory that the process held, in bytes: weights, network, tiles and picture. */
  readonly peakMemory: number;
}

/** The engine thread's job: enlarges a picture tile by tile. Models stay loaded from tile to tile. */
export async function upscalePicture(
  { model, options, request: asked, replayed, picture: path, tile, overlap }: UpscaleRequest,
  { signal, engine, report }: JobContext<{ readonly done: number; readonly total: number }>,
): Promise<UpscaledPicture> {
  const pipeline = await openPipeline(model, { ...options, freeText: false });
  try {
    const { upscaling } = pipeline;
    if (upscaling === null) {
      throw new InvalidArgumentError('--upscale', `${pipeline.family} enlarges no picture: ${pipeline.description}`);
    }
    if (asked.image !== undefined || (asked.count ?? 1) > 1) {
      throw new InvalidArgumentError('--upscale', 'enlarges one picture: leave --image and --count out');
    }
    // Of a model with classes, one: the first when nothing is said.
    const labels = pipeline.takes.includes('labels') && asked.labels === undefined ? { labels: [0] } : {};
    const prompt = pipeline.takes.includes('prompt') ? { prompt: '' } : {};
    const request = { ...prompt, ...labels, ...asked };
    const cut = tilesOf(upscaling, { tile, overlap });
    // The picture's path goes through the pipeline once, which then knows its fingerprint.
    const whole = { ...request, image: path };
    await pipeline.check(whole);
    const inputs = pipeline.inputs();
    if (replayed) checkInputs(replayed, inputs);
    const versions = { tfjs: tf.version_core, [engine.name]: engine.version, node: process.versions.node };
    const facts = { model, options, request: whole, inputs, engine: { name: engine.name, versions } };
    const recipe = recipeOfUpscale(await recipeOf(pipeline, facts), cut);
    const started = performance.now();
    const notes = new Set(pipeline.notes);
    let tiles = 0;
    const picture = await upscale(pipeline, await readImage(path), request, {
      ...{ ...cut, signal, onNote: (line: string) => notes.add(line) },
      onTile(done, total) {
        tiles = total;
        report({ done, total });
      },
    });
    const seconds = (performance.now() - started) / 1000;
    // maxRSS is in KiB.
    const peakMemory = 1024 * process.resourceUsage().maxRSS;
    return { picture, recipe, description: pipeline.description, tiles, notes: [...notes], seconds, peakMemory };
  } finally {
    pipeline.dispose();
  }
}
