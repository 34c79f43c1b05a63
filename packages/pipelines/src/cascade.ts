import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import type { RequestKey } from './request.js';
import type { Part, PipelineDefinition, Stage } from './stage.js';
import { type StageDefaults, stageKeys } from './stage-settings.js';

/**
 * A model and models that enlarge what it makes, each with its own sampler, steps, guidance and noise of its input. Ho et al. 2021
 * (arXiv 2106.15282); Imagen (Saharia et al. 2022, arXiv 2205.11487). The definitions are closed by who opened them.
 *
 * @param later models that take a picture as `image`, smallest first, by what errors call them
 * @throws InvalidFileError or InvalidArgumentError for a model that cannot follow
 */
export function cascadeOf(
  base: PipelineDefinition,
  later: ReadonlyMap<string, PipelineDefinition>,
): PipelineDefinition {
  let enlarged = 1;
  let before: Stage = base.stages.at(-1)!;
  const stages = [...base.stages];
  const parts = [...base.parts];
  const takes = new Set<RequestKey>([...base.takes, ...stageKeys]);
  for (const [name, definition] of later) {
    const prefix = `stage-${stages.length + 1}/`;
    check(name, base, definition, before);
    enlarged *= definition.enlarges!;
    const stage = placed(definition, prefix, enlarged);
    stages.push(stage);
    parts.push(...definition.parts.map((part): Part => ({ ...part, name: `${prefix}${part.name}` })));
    for (const key of definition.takes) if (key !== 'image') takes.add(key);
    before = stage;
  }
  return {
    ...base,
    description: [base.description, ...[...later.values()].map(({ description }) => description)].join('; then '),
    stages,
    parts,
    takes: [...takes],
    close: () => {},
  };
}

/** A stage of its own behind others: parts by other names, sizes of the settings times `enlarged`. */
function placed({ stages, defaults }: PipelineDefinition, prefix: string, enlarged: number): Stage {
  const stage = stages[0]!;
  const named = (names: readonly string[]) => names.map((name) => `${prefix}${name}`);
  const { steps, guidance, solver, threshold, noiseLevel } = { ...defaults, ...stage.defaults };
  const given = Object.entries({ steps, guidance, solver, threshold, noiseLevel });
  return {
    ...stage,
    name: `${prefix}${stage.name}`,
    encodesTextOnly: false,
    codec: stage.codec && { ...stage.codec, parts: named(stage.codec.parts) },
    parts: { encode: named(stage.parts.encode), sample: named(stage.parts.sample) },
    defaults: Object.fromEntries(given.filter(([, value]) => value !== undefined)) as StageDefaults,
    shape: (settings) =>
      stage.shape({ ...settings, height: settings.height * enlarged, width: settings.width * enlarged }),
  };
}

function check(name: string, base: PipelineDefinition, definition: PipelineDefinition, before: Stage): void {
  const { stages, imageIs, enlarges, classes = [] } = definition;
  if (imageIs !== 'condition' || enlarges === undefined || stages.length !== 1) {
    throw new InvalidFileError(name, `is no model that enlarges pictures: ${definition.description}`);
  }
  const own = base.classes ?? [];
  if (classes.length > 0 && String(classes) !== String(own)) {
    throw new InvalidFileError(
      name,
      `knows other classes (${classes.length}) than the model before it (${own.length || 'none'})`,
    );
  }
  if (stages[0]!.stopsPrevious !== undefined && before.codec !== null) {
    throw new InvalidArgumentError(
      name,
      'was trained with noise that the stage before leaves (augmentation: truncated), and that makes latent images',
    );
  }
}
