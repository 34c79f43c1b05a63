import type { JobContext } from '@mezzotint/backend/worker';
import { InvalidArgumentError } from '@mezzotint/core';
import { type Bitmap, readImage } from '@mezzotint/data';
import { type OpenOptions, openPipeline, type Request, upscale } from '@mezzotint/pipelines/node';

/** What the engine's thread is asked for. */
export interface UpscaleRequest {
  readonly model: string;
  readonly options: OpenOptions;
  readonly request: Request;
  /** Path of the picture. */
  readonly picture: string;
  readonly tile: number | undefined;
  readonly overlap: number | undefined;
}

/** An enlarged picture, and what there is to say of it. */
export interface UpscaledPicture {
  readonly picture: Bitmap;
  readonly description: string;
  readonly tiles: number;
  readonly notes: readonly string[];
  readonly seconds: number;
  /** The most memory that the process held, in bytes: weights, network, tiles and picture. */
  readonly peakMemory: number;
}

/** The engine thread's job: enlarges a picture tile by tile. Models stay loaded from tile to tile. */
export async function upscalePicture(
  { model, options, request, picture: path, tile, overlap }: UpscaleRequest,
  { signal, report }: JobContext<{ readonly done: number; readonly total: number }>,
): Promise<UpscaledPicture> {
  const pipeline = await openPipeline(model, { ...options, freeText: false });
  try {
    if (request.image !== undefined || (request.count ?? 1) > 1) {
      throw new InvalidArgumentError('--upscale', 'enlarges one picture: leave --image and --count out');
    }
    // Of a model with classes, one: the first when nothing is said.
    const labels = pipeline.takes.includes('labels') && request.labels === undefined ? { labels: [0] } : {};
    const prompt = pipeline.takes.includes('prompt') ? { prompt: '' } : {};
    const started = performance.now();
    const notes = new Set(pipeline.notes);
    let tiles = 0;
    const picture = await upscale(
      pipeline,
      await readImage(path),
      { ...prompt, ...labels, ...request },
      {
        ...{ tile, overlap, signal, onNote: (line: string) => notes.add(line) },
        onTile(done, total) {
          tiles = total;
          report({ done, total });
        },
      },
    );
    const seconds = (performance.now() - started) / 1000;
    // maxRSS is in KiB.
    const peakMemory = 1024 * process.resourceUsage().maxRSS;
    return { picture, description: pipeline.description, tiles, notes: [...notes], seconds, peakMemory };
  } finally {
    pipeline.dispose();
  }
}
