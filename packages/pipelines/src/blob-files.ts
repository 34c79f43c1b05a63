import { InvalidArgumentError, InvalidFileError, parseJson, quoted, readingBudget } from '@mezzotint/core';
import {
  blobSource,
  openShards,
  openWeights,
  type WeightFile,
  weightsOfFolder,
  withAdapterNotes,
} from '@mezzotint/weights';
import type { Family, ModelFiles } from './family.js';
import { openPipelineFiles } from './open.js';
import type { OpenOptions } from './options.js';
import type { Pipeline, PipelineOptions } from './pipeline.js';

/** Files by their paths, or a browser's `File`s, which know theirs (`webkitRelativePath` of a folder, or `name`). */
export type BlobFiles = ReadonlyMap<string, Blob> | readonly File[];

/** What `openPipeline` of a browser takes beside the options of the model. */
export interface OpenBlobsOptions extends OpenOptions, Omit<PipelineOptions, 'freeText'> {
  /** The files that other options name by path: LoRA files, a refiner, an autoencoder. Folders are the paths that begin with theirs. */
  readonly files?: BlobFiles;
  /** The families that are known; all of `families` when absent. */
  readonly families?: readonly Family[];
}

/**
 * Opens a model from `Blob`s, as a browser has them from a file or folder input, a drop or `fetch`: one file of weights, or the files of
 * a folder by their paths. Configurations and headers are read now, and of weights only the ranges that are needed, when they are.
 *
 * @throws InvalidArgumentError when there is nothing that a family knows; InvalidFileError when a file is not what it should be
 */
export async function openPipeline(
  model: Blob | BlobFiles,
  { files: others = new Map(), families, load, readImage, ...options }: OpenBlobsOptions = {},
): Promise<Pipeline> {
  const beside = byPath(others);
  return openPipelineFiles(isBlob(model) ? blobFile(model) : folderOf(byPath(model)), options, {
    files: (path) => at(beside, path),
    ...(families && { families }),
    ...(load && { load }),
    ...(readImage && { readImage }),
  });
}

/** Longest file that is read whole: vocabularies have a megabyte or two. */
const MAX_BYTES = 2 ** 24;

/** One file of weights. */
export function blobFile(blob: Blob, name = (blob as Partial<File>).name ?? 'model', folder?: ModelFiles): ModelFiles {
  const nothing = (): never => {
    throw new InvalidFileError(name, 'is one file, and no folder');
  };
  return {
    ...{ name, kind: 'file', has: (path) => path === '', text: async () => nothing(), json: async () => nothing() },
    weights: async (path) => (path === '' ? openWeights(blobSource(blob, name)) : nothing()),
    ...(folder && { beside: () => folder }),
  };
}

/** The files of a folder by their paths in it, with slashes. */
export function blobFolder(files: ReadonlyMap<string, Blob>, name = 'folder'): ModelFiles {
  const place = (path: string) => `${name}/${path}`;
  const blobOf = (path: string, most: number): Blob => {
    const blob = files.get(path);
    if (blob === undefined) throw new InvalidFileError(place(path), 'no such file');
    if (blob.size > most) throw new InvalidFileError(place(path), `has ${blob.size} bytes, at most ${most} are read`);
    return blob;
  };
  const text = async (path: string) => blobOf(path, readingBudget.textBytes).text();
  const namesIn = (folder: string) => {
    const start = folder === '' ? '' : `${folder}/`;
    return [...files.keys()].filter((path) => path.startsWith(start)).map((path) => path.slice(start.length));
  };
  const weights = async (path: string, variant?: string): Promise<WeightFile> => {
    if (!files.has(path)) {
      const names = namesIn(path);
      const inside = path === '' ? '' : `${path}/`;
      return weights(
        inside +
          weightsOfFolder(
            place(path),
            (file) => names.includes(file),
            () => names,
            variant,
          ),
      );
    }
    if (!path.endsWith('.json')) return openWeights(blobSource(files.get(path)!, place(path)));
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    return openShards(place(path), await text(path), async (shard) => {
      const blob = blobOf(folder + shard, Number.POSITIVE_INFINITY);
      return openWeights(blobSource(blob, place(folder + shard)));
    });
  };
  return {
    name,
    kind: 'folder',
    has: (path) => path === '' || files.has(path) || namesIn(path).length > 0,
    text,
    async json(path) {
      try {
        return parseJson(await text(path), { python: true });
      } catch (cause) {
        if (InvalidFileError.isInstance(cause)) throw cause;
        throw new InvalidFileError(place(path), `is not JSON: ${(cause as Error).message}`, { cause });
      }
    },
    bytes: async (path) => new Uint8Array(await blobOf(path, MAX_BYTES).arrayBuffer()),
    weights: (path, { variant } = {}) => weights(path, variant),
  };
}

/** The file or folder that an option names. */
function at(files: ReadonlyMap<string, Blob>, path: string): ModelFiles {
  const found = files.get(path);
  if (found !== undefined) {
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    const file = blobFile(found, path, blobFolder(under(files, folder), folder || 'files'));
    const config = files.get(`${folder}adapter_config.json`);
    if (config === undefined || !/(?:^|\/)adapter_model\.(?:safetensors|bin)$/.test(path)) return file;
    return {
      ...file,
      async lora() {
        if (config.size > readingBudget.configBytes)
          throw new InvalidFileError(path, 'its adapter_config.json is too long');
        return withAdapterNotes(await file.weights(''), await config.text());
      },
    };
  }
  const inside = under(files, `${path.replace(/\/$/, '')}/`);
  if (inside.size > 0) return blobFolder(inside, path);
  const known = [...files.keys()].slice(0, 5).join(', ') || 'none';
  throw new InvalidArgumentError(quoted(path), `no such file or folder among the option files: ${known}`);
}

function under(files: ReadonlyMap<string, Blob>, start: string): ReadonlyMap<string, Blob> {
  const inside = [...files].filter(([path]) => path.startsWith(start));
  return new Map(inside.map(([path, blob]) => [path.slice(start.length), blob]));
}

/** Files by their paths. */
function byPath(files: BlobFiles): ReadonlyMap<string, Blob> {
  if (!Array.isArray(files)) return files as ReadonlyMap<string, Blob>;
  return new Map(
    (files as readonly (File & { readonly webkitRelativePath?: string })[]).map((file) => [
      file.webkitRelativePath || file.name,
      file,
    ]),
  );
}

/** The folder that all files lie in, by its name: a folder input names it in every path. */
function folderOf(files: ReadonlyMap<string, Blob>): ModelFiles {
  const tops = new Set([...files.keys()].map((path) => path.slice(0, path.indexOf('/') + 1)));
  const [top = ''] = tops;
  return tops.size === 1 && top !== '' ? blobFolder(under(files, top), top.slice(0, -1)) : blobFolder(files);
}

function isBlob(value: Blob | BlobFiles): value is Blob {
  return typeof (value as Partial<Blob>).arrayBuffer === 'function';
}
