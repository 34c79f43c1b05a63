import { InvalidFileError } from '@mezzotint/core';
import { z } from 'zod';
import { cascadeOf } from '../cascade.js';
import { checked } from '../checked.js';
import type { Family, ModelFiles } from '../family.js';
import type { PipelineDefinition } from '../stage.js';

/** `config.json` of a cascade. */
export const cascadeConfigSchema = z.strictObject({
  format: z.literal('mezzotint/cascade@1'),
  /** Folders of the stages beside this file, the base first. */
  stages: z
    .array(z.string().regex(/^[\w-]{1,100}$/, 'expected a folder of letters, digits, - and _'))
    .min(2)
    .max(8),
});

/**
 * Imagen, and other cascades of models of `train`: a folder with a `config.json` that names the folders of its stages, a base and
 * models that enlarge, each with its own text encoder if it reads texts (T5 of any size for Imagen), process, sampler, steps,
 * guidance, thresholding and noise of its input. Saharia et al. 2022; Ho et al. 2021.
 */
export const cascadeFamily: Family = {
  name: 'Imagen and other cascades',
  recognise: ({ files, config }) => files.kind === 'folder' && config?.format === 'mezzotint/cascade@1',
  async open({ files, config }, context) {
    const { stages } = checked(`${files.name}/config.json`, config, cascadeConfigSchema);
    const definitions = new Map<string, PipelineDefinition>();
    for (const stage of stages) {
      definitions.set(`${files.name}/${stage}`, await context.open(within(files, stage), context.options));
    }
    const [base, ...later] = definitions;
    return { ...cascadeOf(base![1], new Map(later)), family: cascadeFamily.name };
  },
};

/** A folder in the files of a model, as files of its own. */
function within(files: ModelFiles, folder: string): ModelFiles {
  const at = (path: string) => (path === '' ? folder : `${folder}/${path}`);
  if (!files.has(`${folder}/config.json`)) {
    throw new InvalidFileError(files.name, `has no ${folder}/config.json, which its config.json names as a stage`);
  }
  return {
    name: `${files.name}/${folder}`,
    kind: 'folder',
    has: (path) => files.has(at(path)),
    text: (path) => files.text(at(path)),
    json: (path) => files.json(at(path)),
    ...(files.bytes && { bytes: (path: string) => files.bytes!(at(path)) }),
    weights: (path, options) => files.weights(at(path), options),
  };
}
