import { architectureOfKind } from '@mezzotint/architectures';
import { InvalidFileError, readNetworkConfig } from '@mezzotint/core';
import { type ProcessConfig, type SolverName, samplerFromProcess, solvers } from '@mezzotint/schedulers';
import type { z } from 'zod';
import type { Family, ModelFiles } from '../../family.js';
import { diffusionConfigSchema } from '../../model-config.js';
import { openGuide } from './classifier.js';
import { classSettings, classStage, shownLabels } from './stage.js';

/** Where a folder has a model that the train app made: in itself, or in the `model/` of a run. */
function placeOf(files: ModelFiles, config: Readonly<Record<string, unknown>> | null): string | undefined {
  if (typeof config?.format === 'string' && config.format.startsWith('mezzotint/')) return '';
  return files.has('model/config.json') && files.has('model/model.safetensors') ? 'model/' : undefined;
}

/** Models that `train` made, of any registered architecture: `config.json` and `model.safetensors`, or a run's folder. */
export const ownModel: Family = {
  name: 'models of train',
  recognise: ({ files, config }) => files.kind === 'folder' && placeOf(files, config) !== undefined,
  async open(candidate, context) {
    const { files } = candidate;
    const place = placeOf(files, candidate.config)!;
    const file = `${place}config.json`;
    const config = checked(`${files.name}/${file}`, await files.json(file), diffusionConfigSchema);
    const architecture = architectureOfKind('denoiser', config.architecture);
    const network = readNetworkConfig(architecture, config.network);
    const signature = architecture.signature(network);
    const module = architecture.build(network);
    const { image, classes, sampling } = config;
    const problems = [];
    if (signature.inChannels !== image.channels) {
      problems.push(`image.channels is ${image.channels}, the network takes ${signature.inChannels}`);
    }
    if (signature.classes !== (classes.length === 0 ? null : classes.length)) {
      problems.push(`there are ${classes.length} names of classes, the network has ${signature.classes ?? 'none'}`);
    }
    if (!Object.hasOwn(solvers, sampling.solver)) problems.push(`sampling.solver: unknown solver '${sampling.solver}'`);
    if (problems.length > 0) throw new InvalidFileError(`${files.name}/${file}`, problems.join('; '));
    const sampler = samplerFromProcess(config.process as ProcessConfig, {
      solver: sampling.solver as SolverName,
      limit: { kind: 'clip', range: 1 },
    });
    const weights = await files.weights(`${place}model.safetensors`);
    const guide = await openGuide(context, signature.inChannels).catch((error: unknown) => {
      weights.close();
      throw error;
    });
    return {
      family: ownModel.name,
      description: `${config.architecture} for ${image.size} x ${image.size} pixels, ${classes.length} classes`,
      stages: [
        classStage({
          ...{ name: 'model', network: module, signature, sampler, codec: null, parts: ['model'] },
          startRun: architecture.startRun && ((images) => architecture.startRun!(module, { images })),
          classifier: guide?.classifier,
        }),
      ],
      parts: [{ name: 'model', module, weights }, ...(guide ? [guide.part] : [])],
      takes: classSettings(signature, guide),
      sizeUnit: signature.sizeMultiple ?? image.size,
      defaults: {
        ...{ height: image.size, width: image.size, steps: sampling.steps, guidance: sampling.guidance },
        ...shownLabels(signature.classes),
      },
      classes: classes.length > 0 ? classes : (guide?.classes ?? []),
      close() {
        weights.close();
        guide?.close();
      },
    };
  },
};

/** Checks JSON against a schema; the error lists every problem with the place where it is. */
export function checked<S extends z.ZodType>(name: string, value: unknown, schema: S): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top)'}: ${issue.message}`);
  throw new InvalidFileError(name, problems.length === 1 ? problems[0]! : `\n  ${problems.join('\n  ')}`);
}
