import { readImage } from '@mezzotint/data';
import type { Family } from '../family.js';
import { openPipelineFiles } from '../open.js';
import type { OpenOptions } from '../options.js';
import type { LoadPart } from '../parts.js';
import type { Pipeline } from '../pipeline.js';
import { diskFiles } from './files.js';
import { readFiles } from './inputs.js';

export * from '../index.js';
export { diskFiles } from './files.js';
export { fingerprint } from './inputs.js';

/** What `openPipeline` takes beside the options of the model. */
export interface OpenPipelineOptions extends OpenOptions {
  /** The families that are known; all of `families` when absent. */
  readonly families?: readonly Family[];
}

/** A pipeline of files, which knows what it read. */
export interface DiskPipeline extends Pipeline {
  /** Fingerprints of the files that were read so far, by the paths that were given: for the recipe in a picture. */
  inputs(): Readonly<Record<string, string>>;
}

/**
 * Opens a model: a folder of diffusers, one file of weights, or a model or run folder of this project. Configurations and headers
 * are read now, weights when they are first needed.
 *
 * @throws InvalidArgumentError when there is nothing, or nothing that a family knows; InvalidFileError when a file is not what
 *   it should be
 */
export async function openPipeline(
  path: string,
  { families, ...options }: OpenPipelineOptions = {},
): Promise<DiskPipeline> {
  const reads = readFiles();
  const files = (place: string) => diskFiles(place, (file) => reads.note(place, file));
  const pipeline = await openPipelineFiles(files(path), options, {
    files,
    readImage: async (file, as) => {
      const picture = await readImage(file, as === 'mask' ? { transparency: 'ignored' } : {});
      reads.note(file, file);
      return picture;
    },
    ...(families && { families }),
    ...(options.weights !== undefined && { load: await loaderOf(options.weights) }),
  });
  return { ...pipeline, inputs: () => reads.fingerprints() };
}

/** Parameters from which on a second copy of the codes, and a program for each layer, cost more than they save. */
const LARGE = 2 ** 30;

/** Reads weights and keeps them in fewer bits; the engine's package is needed only then. */
async function loaderOf(weights: NonNullable<OpenOptions['weights']>): Promise<LoadPart> {
  const { loadQuantized } = await import('@mezzotint/backend-onnxruntime');
  return (module, source) => {
    const size = [...module.params().values()].reduce((sum, param) => sum + param.size, 0);
    return loadQuantized(module, source, { weights, fed: size > LARGE });
  };
}
