import { MezzotintError } from '@mezzotint/core';
import {
  type BuiltGuidance,
  createGuidance,
  type GuidanceContext,
  guidanceInterval,
  guidanceNamed,
  guidanceOptionProblems,
  type SavedMomentum,
  together,
  wholeGuidanceOptions,
} from '@mezzotint/guidance';
import type { AfterLimit, Guide } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import type { Request, Settings } from './request.js';
import type { Route } from './run-stage.js';
import type { Conditions, EncodedBatch, Stage } from './stage.js';

/** A guidance that a request names, with its options. */
export type NamedGuide = NonNullable<Request['guide']>[number];

/** The guidance of a run of a stage. */
export interface RunGuidance {
  /** undefined for none. */
  readonly guide: Guide<Conditions> | undefined;
  /** What moves estimates after they were clipped; undefined for nothing. */
  readonly after: AfterLimit<Conditions> | undefined;
  /** What its parts remember, in their order; null for those that remember nothing. */
  save(): Promise<readonly (SavedMomentum | null)[]>;
  restore(saved: readonly (SavedMomentum | null)[]): void;
  dispose(): void;
}

/** What a guidance scale of the settings means to a stage. */
const scaleOf = (stage: Stage, settings: Settings) => stage.guidanceScale?.(settings) ?? settings.guidance;

/** Guides with their kinds: at most one combination, and what is added to it or done after it. */
function sorted(guides: readonly NamedGuide[] = []) {
  const of = (kind: string) => guides.filter(({ name }) => guidanceNamed(name).kind === kind);
  return { combination: of('combination')[0], additions: of('addition'), after: of('after') };
}

/** Whether a run needs conditions of no prompt at all, beside those of the negative prompt. */
export function needsEmpty({ guide = [] }: Settings): boolean {
  return guide.some(({ name }) => guidanceNamed(name).needs.includes('empty'));
}

/** The settings that guides leave without a use: guidance scales, beside a combination with a strength of its own. */
export function unusedBy(guides: readonly NamedGuide[] = []): readonly ('guidance' | 'stageGuidance')[] {
  const { combination } = sorted(guides);
  return combination === undefined || guidanceNamed(combination.name).usesScale ? [] : ['guidance', 'stageGuidance'];
}

/** Guides with every option filled in. */
export function wholeGuides(guides: readonly NamedGuide[]): NamedGuide[] {
  return guides.map(({ name, ...options }) => ({ name, ...wholeGuidanceOptions(guidanceNamed(name), options) }));
}

/**
 * Guidance as the settings ask for it: classifier-free guidance, or the combination in its place, where there is a negative
 * condition and the scale is above 1 (as in diffusers); what the stage adds; what the request adds; in the interval of noise
 * levels that it names; then what acts on the guided estimate.
 */
export function guidanceOf(
  stage: Stage,
  settings: Settings,
  { negative, empty = null }: Pick<EncodedBatch, 'negative' | 'empty'>,
  { sampler, schedule }: Pick<Route, 'sampler' | 'schedule'>,
): RunGuidance {
  const scale = scaleOf(stage, settings);
  const { guidanceRescale = 0, guidanceInterval: interval } = settings;
  const { combination = { name: 'cfg' as const }, additions, after } = sorted(settings.guide);
  const context: GuidanceContext<Conditions> = {
    ...{ scale, schedule, prediction: sampler.parameterisation, network: stage.module, rescale: guidanceRescale },
    ...{ unconditional: negative!, empty: empty ?? undefined, channels: stage.guidedChannels },
    ...(stage.batchesGuidance && { join }),
  };
  const built: BuiltGuidance<Conditions>[] = [];
  const make = ({ name, ...options }: NamedGuide): Guide<Conditions> => {
    const made = createGuidance<Conditions>(name, options, context);
    built.push(made);
    return made.guide;
  };
  const guides = negative !== null && (scale > 1 || !guidanceNamed(combination.name).usesScale);
  const free = guides ? make(combination) : undefined;
  const own = stage.guide ? stage.guide({ settings, negative, sampler, schedule, free }) : free;
  const added = additions.map(make);
  const all = added.length === 0 ? own : combinedGuide([...(own ? [own] : []), ...added]);
  const inInterval: Guide<Conditions> | undefined =
    all === undefined || interval === undefined
      ? all
      : (plain) => guidanceInterval(plain, all, { low: interval[0], high: interval[1] });
  const guide = after
    .map(make)
    .reduce<Guide<Conditions> | undefined>((before, next) => (plain) => next(before?.(plain) ?? plain), inInterval);
  const moved = stage.after?.({ settings, sampler, schedule });
  return {
    guide,
    after: moved && interval ? afterInInterval(moved, interval) : moved,
    save: () => Promise.all(built.map(({ memory }) => memory?.save() ?? null)),
    restore(saved) {
      for (const [i, { memory }] of built.entries()) memory?.restore(saved[i] ?? { average: null });
    },
    dispose() {
      for (const { memory } of built) memory?.dispose();
    },
  };
}

/** The same between two noise ratios only. */
function afterInInterval(
  after: AfterLimit<Conditions>,
  [low, high]: readonly [number, number],
): AfterLimit<Conditions> {
  return {
    estimate: (limited) => guidanceInterval(limited, after.estimate, { low, high }),
    variance(limited) {
      const inside = after.variance(limited);
      return (x, at, cond) =>
        (at.sigma / at.alpha > low && at.sigma / at.alpha <= high ? inside : limited)(x, at, cond);
    },
  };
}

/** Several guidances as one. */
function combinedGuide(guides: readonly Guide<Conditions>[]): Guide<Conditions> {
  return guides.length === 1 ? guides[0]! : (plain) => together(plain, guides);
}

/** What is wrong with the guides that a request names, a line each. Nothing is computed. */
export function guideProblems(
  stages: readonly Stage[],
  asked: Request,
  stageSettings: readonly Settings[],
  routes: readonly Route[],
): string[] {
  const { guide: guides = [] } = asked;
  if (guides.length === 0) return [];
  const records = guides.map(({ name }) => guidanceNamed(name));
  const problems = guides.flatMap(({ name, ...options }, i) => guidanceOptionProblems(records[i]!, options));
  const combinations = records.filter(({ kind }) => kind === 'combination');
  if (combinations.length > 1) {
    problems.push(`${combinations.map(({ name }) => name).join(' and ')} stand in the same place; choose one`);
  }
  const [combination] = combinations;
  const [first] = stages as readonly [Stage];
  if (combination !== undefined) {
    const scales = stages.map((stage, i) => scaleOf(stage, stageSettings[i]!));
    if (first.negatives === false)
      problems.push(`${combination.name} needs a condition to guide away from, which this model has not`);
    else if (combination.usesScale && scales.every((scale) => scale <= 1))
      problems.push(`${combination.name} needs a guidance scale above 1, it is ${scales.join(', ')}`);
    const unused = unusedBy(guides).filter((key) => asked[key] !== undefined);
    if (unused.length > 0)
      problems.push(`${combination.name} has a strength of its own; leave ${unused.join(' and ')} out`);
    if (combination.needs.includes('empty') && asked.negative === undefined)
      problems.push(`${combination.name} needs a negative prompt`);
  }
  if (problems.length === 0) {
    // Layers by path, and whatever else only building tells.
    stages.forEach((stage, i) => {
      const nothing = stage.negatives === false ? null : {};
      try {
        guidanceOf(stage, stageSettings[i]!, { negative: nothing, empty: nothing }, routes[i]!).dispose();
      } catch (error) {
        if (!MezzotintError.isInstance(error)) throw error;
        problems.push(`${stage.name}: ${error.message}`);
      }
    });
  }
  return problems.map((problem) => `guide: ${problem}`);
}

/** Two conditions one after the other along the batch; what the second has not is that of the first. */
function join(a: Conditions, b: Conditions): Conditions {
  return Object.fromEntries(
    Object.entries(a).map(([name, tensor]) => [name, tf.concat([tensor, b[name] ?? tensor], 0)]),
  );
}
