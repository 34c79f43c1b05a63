import { families as allFamilies } from './families/index.js';
import { type Family, type ModelFiles, openDefinition } from './family.js';
import { fitParts } from './fit.js';
import { mergeLoras } from './lora.js';
import { checkOptions, type OpenOptions } from './options.js';
import { createPipeline, type Pipeline, type PipelineOptions } from './pipeline.js';
import { withTaesd } from './taesd.js';

/** What opening needs beside the options of the model. */
export interface OpenPipelineContext extends PipelineOptions {
  /** The files at a path that the options name. */
  files(path: string): ModelFiles;
  /** The families that are known; all of `families` when absent. */
  readonly families?: readonly Family[];
}

/**
 * Opens a model from its files. Reads configurations and headers; weights when they are first needed.
 *
 * @throws InvalidArgumentError when no family knows the model or an option does not fit; InvalidFileError when a file is not
 *   what it should be
 */
export async function openPipelineFiles(
  model: ModelFiles,
  options: OpenOptions,
  { files, families = allFamilies, ...rest }: OpenPipelineContext,
): Promise<Pipeline> {
  const checked = checkOptions(options);
  const notes: string[] = [];
  const note = (line: string) => notes.push(line);
  let definition = await openDefinition(model, families, { options: checked, files, note });
  try {
    if (checked.taesd !== undefined) definition = await withTaesd(definition, files(checked.taesd));
    const fitted = fitParts(definition.parts, { strict: checked.strict === true, note });
    const merged = await mergeLoras(fitted, checked.lora ?? [], files, note);
    const opened = definition;
    const close = () => {
      merged.close();
      opened.close();
    };
    const all = [...(definition.notes ?? []), ...notes];
    return createPipeline(
      { ...definition, parts: merged.parts, notes: all, close },
      { ...rest, freeText: checked.freeText },
    );
  } catch (error) {
    definition.close();
    throw error;
  }
}
