import { InvalidArgumentError, type Module, type WeightSource } from '@mezzotint/core';
import { type Dropped, type LoraModelName, mergeLora, type Translation } from '@mezzotint/weights';
import { readLora } from '@mezzotint/weights/node';
import type { LatentModel } from './latent-model.js';
import { silent, type Tell } from './stages.js';

/** Parts of a model that have weights, by the names of diffusers' folders. */
export type PartName = 'unet' | 'vae' | 'text_encoder' | 'text_encoder_2';

/** A part of a model, and where its weights are. */
export interface Part {
  readonly name: PartName;
  readonly module: Module;
  /** Its tensors, and where in the file each came from. */
  readonly weights: Translation;
}

/** A model whose files are open, but not read beyond their headers. */
export interface UnloadedModel {
  readonly model: LatentModel;
  readonly parts: readonly Part[];
  /** What a file without configurations was taken for, and why, in a line for people; null where a folder said it. */
  readonly taken: string | null;
  /** Tensors of one file that belong to no part. */
  readonly dropped: readonly Dropped[];
  /** Closes the files. */
  close(): void;
}

/** A LoRA file and how strongly it counts. */
export interface LoraFile {
  readonly path: string;
  readonly scale: number;
}

/** How weights may be kept in memory; the names of backend-onnxruntime's `quantize`. */
export const weightFormats = ['float16', 'bfloat16', 'int8', 'int4'] as const;

export type WeightFormat = (typeof weightFormats)[number];

/** How a model is loaded. */
export interface LoadHow {
  /** Keeps the weights in fewer bits, on the engine onnxruntime; in float32 when absent. */
  readonly weights?: WeightFormat | undefined;
  readonly tell?: Tell;
}

/** What LoRA files call the parts. */
export const loraNames: Readonly<Record<PartName, LoraModelName | null>> = {
  unet: 'denoiser',
  vae: null,
  text_encoder: 'text_encoder',
  text_encoder_2: 'text_encoder_2',
};

/**
 * Reads the weights, with LoRA files merged into them, and closes the files; a model of which a part could not be loaded
 * is disposed.
 *
 * @throws InvalidArgumentError, InvalidFileError or WeightsMismatchError when a file does not fit, or when another engine
 *   than onnxruntime is to keep weights in fewer bits
 */
export async function loadModel(
  { model, parts, close }: UnloadedModel,
  loras: readonly LoraFile[],
  { weights: format, tell = silent }: LoadHow = {},
): Promise<LatentModel> {
  const open: { close(): void }[] = [{ close }];
  try {
    let sources: Partial<Record<PartName, WeightSource>> = {};
    for (const { name, weights } of parts) sources[name] = weights;
    for (const { path, scale } of loras) {
      const lora = await readLora(path);
      open.push(lora);
      sources = await merged(sources, lora, scale);
    }
    const total = parts.reduce((sum, { module }) => sum + module.params().size, 0);
    let read = 0;
    const telling = (source: WeightSource) => watched(source, () => tell('Loading', ++read, total));
    const load = await loader(format);
    for (const { name, module } of parts) await load(module, telling(sources[name]!));
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    for (const file of open) file.close();
  }
}

/** What loads one part. The engine's package is needed only where it keeps the weights in its own form. */
async function loader(
  format: WeightFormat | undefined,
): Promise<(part: Module, source: WeightSource) => Promise<unknown>> {
  if (format === undefined) return (part, source) => part.load(source);
  const { loadQuantized } = await import('@mezzotint/backend-onnxruntime');
  return (part, source) => loadQuantized(part, source, { weights: format });
}

async function merged(
  sources: Partial<Record<PartName, WeightSource>>,
  lora: WeightSource,
  scale: number,
): Promise<Partial<Record<PartName, WeightSource>>> {
  const targets = (Object.keys(sources) as PartName[]).filter((part) => loraNames[part] !== null);
  const models = Object.fromEntries(targets.map((part) => [loraNames[part]!, sources[part]!]));
  const changed: Readonly<Record<string, WeightSource>> = await mergeLora(models, lora, { scale });
  return { ...sources, ...Object.fromEntries(targets.map((part) => [part, changed[loraNames[part]!]!])) };
}

/** A source that says when a tensor of it is read. */
function watched(source: WeightSource, onRead: () => void): WeightSource {
  return {
    name: source.name,
    tensors: source.tensors,
    read: (name) => {
      onRead();
      return source.read(name);
    },
    // What can be given away without a copy still is.
    ...(source.take && {
      take: (name, keep) => {
        onRead();
        return source.take!(name, keep);
      },
    }),
  };
}

/** `file` or `file:scale`. */
export function parseLora(text: string): LoraFile {
  const [, path, scale] = /^(.+?)(?::(-?\d*\.?\d+))?$/.exec(text) ?? [];
  if (path === undefined) throw new InvalidArgumentError('--lora', `expected file or file:scale, got '${text}'`);
  return { path, scale: scale === undefined ? 1 : Number(scale) };
}
