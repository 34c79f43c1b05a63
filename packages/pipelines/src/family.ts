import { InvalidArgumentError, textOf } from '@mezzotint/core';
import { openSingleFile, type SingleFile, type WeightFile } from '@mezzotint/weights';
import type { OpenOptions } from './options.js';
import type { PipelineDefinition } from './stage.js';

/** The files of a model, wherever they are: a folder or file of a disk (`/node`), or what a browser was given. */
export interface ModelFiles {
  /** What errors call it, for example its path. */
  readonly name: string;
  /** A folder, or one file of weights. */
  readonly kind: 'folder' | 'file';
  /** Whether a folder holds this file or folder, by its path in it. */
  has(path: string): boolean;
  /** A text file. Throws an InvalidFileError when it is not there or too long. */
  text(path: string): Promise<string>;
  /** A JSON file; numbers that are not finite are null. Throws as `text`, and when it is not JSON. */
  json(path: string): Promise<unknown>;
  /** The bytes of a small file, such as a vocabulary. Throws as `text`; absent where files cannot be read so. */
  bytes?(path: string): Promise<Uint8Array>;
  /** The folder that one file lies in, for a vocabulary beside it; absent where there is none. */
  beside?(): ModelFiles;
  /** A LoRA in one file, with the settings that a tool wrote beside it; absent where it is `weights('')`. */
  lora?(): Promise<WeightFile>;
  /** Weights of a subfolder or file, by its path; of one file, or of the folder itself, ''. Reads headers only. */
  weights(path: string, options?: { readonly variant?: string | undefined }): Promise<WeightFile>;
}

/** What families look at to recognise a model: names, shapes and JSON, never weights. */
export interface Candidate {
  readonly files: ModelFiles;
  /** `model_index.json` of a folder of diffusers. */
  readonly index: Readonly<Record<string, unknown>> | null;
  /** `config.json` of a folder. */
  readonly config: Readonly<Record<string, unknown>> | null;
  /** Header of a model in one file. */
  readonly source: WeightFile | null;
  /** The same taken apart into the models that it holds; null when they are not known, and why. */
  readonly single: SingleFile | null;
  readonly singleError: string | null;
}

/** What opening may use. */
export interface OpenContext {
  readonly options: OpenOptions;
  /** The files at another path, for a refiner or an upsampler. */
  files(path: string): ModelFiles;
  /** Opens another model with these families and closes it with this one. */
  open(files: ModelFiles, options?: OpenOptions): Promise<PipelineDefinition>;
  /** A line for the user. */
  note(line: string): void;
}

/** A kind of model that pipelines are made of: one file, and one line in the list of families. */
export interface Family {
  readonly name: string;
  /** Whether a model is of this family. Looks only; must not throw. */
  recognise(candidate: Candidate): boolean;
  /**
   * Opens the model; reads configurations and headers only.
   *
   * @throws InvalidFileError or InvalidArgumentError with everything that does not fit
   */
  open(candidate: Candidate, context: OpenContext): Promise<PipelineDefinition>;
}

/** Looks at a model's files. The caller closes `source`. */
export async function lookAt(files: ModelFiles, report?: (problem: string) => void): Promise<Candidate> {
  const none = { files, index: null, config: null, source: null, single: null, singleError: null };
  if (files.kind === 'folder') {
    const object = async (name: string) => {
      const value = files.has(name) ? await files.json(name) : null;
      return typeof value === 'object' && value !== null && !Array.isArray(value)
        ? (value as Record<string, unknown>)
        : null;
    };
    return { ...none, index: await object('model_index.json'), config: await object('config.json') };
  }
  const source = await files.weights('');
  try {
    return { ...none, source, single: openSingleFile(source, { report }) };
  } catch (error) {
    return { ...none, source, singleError: (error as Error).message };
  }
}

/**
 * Opens a model with the first family that recognises it.
 *
 * @throws InvalidArgumentError that says what was found and which families are known
 */
export async function openDefinition(
  files: ModelFiles,
  families: readonly Family[],
  context: Pick<OpenContext, 'options' | 'files' | 'note'>,
): Promise<PipelineDefinition> {
  const candidate = await lookAt(files, context.options.strict ? undefined : context.note);
  const opened: PipelineDefinition[] = [];
  const close = () => {
    for (const definition of opened) definition.close();
    candidate.source?.close();
  };
  try {
    const family = families.find((known) => known.recognise(candidate));
    if (family === undefined) throw unknownModel(candidate, families);
    const open: OpenContext['open'] = async (others, options = context.options) => {
      const definition = await openDefinition(others, families, { ...context, options });
      opened.push(definition);
      return definition;
    };
    const watched = watchedOptions(context.options);
    const definition = await family.open(candidate, { ...context, options: watched.options, open });
    opened.push(definition);
    const unused = watched.unread();
    if (unused.length > 0) {
      throw new InvalidArgumentError(
        'options',
        unused.map((key) => `${key}: ${family.name} has no use for it`),
      );
    }
    return {
      ...definition,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Options that some families have a use for, and others none; all other options are read for every model. */
const SPECIAL = [
  ...(['parts', 'tokenizer', 'prediction', 'variant', 'refiner', 'guidingModel', 'upsampler', 'classifier'] as const),
  ...(['network', 'betas', 'textualInversion'] as const),
] satisfies readonly (keyof OpenOptions)[];

/** Options that know which of them were given and never read: they would do nothing, without a word. */
function watchedOptions(given: OpenOptions): { readonly options: OpenOptions; unread(): readonly string[] } {
  const read = new Set<string | symbol>();
  const options = new Proxy(given, {
    get(target, key) {
      read.add(key);
      return Reflect.get(target, key);
    },
  });
  return { options, unread: () => SPECIAL.filter((key) => given[key] !== undefined && !read.has(key)) };
}

function unknownModel(
  { files, index, config, source, single, singleError }: Candidate,
  families: readonly Family[],
): InvalidArgumentError {
  const known = families.map(({ name }) => name).join('; ');
  const what =
    index !== null
      ? `is a folder of ${textOf(index._class_name ?? 'diffusers')}`
      : config !== null
        ? `has a config.json of ${textOf(config._class_name ?? config.architecture ?? config.format ?? 'an unknown model')}`
        : single !== null
          ? `holds ${[...single.components].map(([part, { model, layout }]) => `${part} (${model}, ${layout} layout)`).join(', ')}`
          : source !== null
            ? `holds ${[...source.tensors.keys()].slice(0, 3).join(', ') || 'no tensors'}${singleError === null ? '' : ` (${singleError})`}`
            : 'has neither model_index.json nor config.json';
  return new InvalidArgumentError(files.name, `${what}, which no family can open; known are: ${known}`);
}
