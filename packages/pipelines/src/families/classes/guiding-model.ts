import type { DenoisingNetwork } from '@mezzotint/core';
import { InvalidArgumentError } from '@mezzotint/core';
import { autoguidance } from '@mezzotint/guidance';
import type { DiffusionConfig } from '../../model-config.js';
import type { Conditions, Part, PipelineDefinition, Stage } from '../../stage.js';

/** A smaller or less trained model that guides another of the same task. */
export interface GuidingModel {
  readonly network: DenoisingNetwork;
  readonly part: Part;
  close(): void;
}

/** What is wrong with a model as the guide of another, a line each: both must be of one task. */
export function guidingProblems(path: string, guiding: DiffusionConfig, main: DiffusionConfig): string[] {
  const keys = ['image', 'latents', 'classes', 'process', 'text', 'superResolution'] as const;
  const text = (value: unknown) => JSON.stringify(value) ?? 'nothing';
  return keys
    .filter((key) => text(guiding[key]) !== text(main[key]))
    .map((key) => `${path} has ${key} ${text(guiding[key]).slice(0, 200)}, the model ${text(main[key]).slice(0, 200)}`);
}

/**
 * The same model guided by another, whose files the definition closes: D + (w - 1) (D - D_weaker), w the setting `guidance`, in the place of classifier-free guidance.
 * Autoguidance, Karras et al. 2024 (arXiv 2406.02507), section 3.
 *
 * @throws InvalidArgumentError for a model of several stages
 */
export function withGuidingModel(definition: PipelineDefinition, guiding: GuidingModel): PipelineDefinition {
  const [stage, ...rest] = definition.stages as [Stage, ...Stage[]];
  if (rest.length > 0) throw new InvalidArgumentError('guidingModel', 'guides models of one stage');
  const guided: Stage = {
    ...stage,
    negatives: false,
    parts: { ...stage.parts, sample: [...stage.parts.sample, guiding.part.name] },
    async encode(batch, context) {
      const { positive, negative } = await stage.encode(batch, context);
      for (const tensor of Object.values((negative ?? {}) as Conditions)) tensor.dispose();
      return { positive, negative: null };
    },
    guide({ settings: { guidance: scale }, sampler }) {
      if (scale <= 1) return undefined;
      const weaker = sampler.denoiser<Conditions>((x, time, conditions) =>
        guiding.network.forward(x, time, conditions),
      );
      return (plain) => autoguidance(plain, { weaker, scale });
    },
  };
  const takes = new Set(definition.takes.filter((key) => key !== 'guidanceRescale' && key !== 'negative'));
  return {
    ...definition,
    description: `${definition.description}, guided by ${guiding.part.weights.name}`,
    stages: [guided],
    parts: [...definition.parts, guiding.part],
    takes: [...takes.add('guidance').add('guidanceInterval')],
  };
}
