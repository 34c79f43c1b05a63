import { type Denoiser, InvalidArgumentError, type Module, type NoiseLevels } from '@mezzotint/core';
import {
  type Guide,
  optionProblem,
  type Parameterisation,
  type SolverOption,
  thresholded,
} from '@mezzotint/schedulers';
import { adaptiveProjected, type MomentumGuidance, projectedMix } from './adaptive-projected.js';
import { combineClassifierFree, finishedCombination } from './classifier-free.js';
import { combineFrequencyDecoupled } from './frequency-decoupled.js';
import { guidanceInterval, intervalOfSteps } from './interval.js';
import { type Layers, layersAt, middleSelfAttention } from './layers.js';
import { combineMagnitudeAware } from './magnitude-aware.js';
import { perpNeg } from './perp-neg.js';
import { perturbedAttention } from './perturbed-attention.js';
import { plusPlusScale } from './plus-plus.js';
import { selfAttention } from './self-attention.js';
import { skipLayer } from './skip-layer.js';
import { smoothedEnergy } from './smoothed-energy.js';
import { combineTangential } from './tangential.js';
import { type Combination, guided, type TwoPassOptions } from './two-pass.js';
import { zeroStar } from './zero-star.js';

/** A setting of a guidance, declared once for configuration files, flags and help. */
export type GuidanceOption =
  | SolverOption
  | { readonly type: 'numbers'; readonly about: string; readonly absent: readonly number[] }
  /** Paths of modules with commas between them, or `middle`: the self-attention in the middle of the network. */
  | { readonly type: 'layers'; readonly about: string; readonly absent: 'middle' | undefined };

/** Settings of a guidance by name. */
export type GuidanceOptions = Readonly<Record<string, number | boolean | string | readonly number[]>>;

/** What a guidance works with during a run. */
export interface GuidanceContext<C> extends TwoPassOptions<C> {
  /** The guidance scale of the request; 1 is the conditional model. */
  readonly scale: number;
  /** What is known of no condition at all, beside a negative prompt; for those that need `empty`. */
  readonly empty?: C | undefined;
  /** What the network predicts. */
  readonly prediction: Parameterisation;
  /** The noise levels of the run. */
  readonly schedule: NoiseLevels;
  /** The network, whose layers are found by path; undefined where a model does not show it. */
  readonly network: Pick<Module, 'modules'> | undefined;
  /** In how far the deviation of each image is brought back to the conditional one; 0. See `combineRescaled`. */
  readonly rescale?: number;
  /** Channels that a model guides when nothing is asked, the first ones; all. */
  readonly channels?: number | undefined;
}

/** A guidance of one run. */
export interface BuiltGuidance<C> {
  readonly guide: Guide<C>;
  /** What it remembers from step to step; dispose it when the run ends. */
  readonly memory?: Pick<MomentumGuidance, 'save' | 'restore' | 'dispose'>;
}

/** What a guidance needs beside the conditional pass. */
export type GuidanceNeed =
  /** A pass with the null label, the empty or the negative prompt. */
  | 'unconditional'
  /** A pass with the empty prompt, beside one with a negative prompt. */
  | 'empty'
  /** A pass with some of the network's layers disturbed: the layers must ask the hooks of core. */
  | 'layers';

/** A guidance that can be named: everything that apps and docs say of it is here. */
export interface GuidanceRecord {
  /** Its name, which is the field's short one. */
  readonly name: string;
  /** The function of this package that it is. */
  readonly method: string;
  readonly about: string;
  readonly paper: string;
  /** `combination`: in the place of classifier-free guidance; `addition`: added to it; `after`: acts on the guided estimate. */
  readonly kind: 'combination' | 'addition' | 'after';
  readonly needs: readonly GuidanceNeed[];
  /** Passes of the network in a step, the conditional one included. */
  readonly passes: number;
  /** Whether it reads the request's guidance scale; others have strengths of their own. */
  readonly usesScale: boolean;
  readonly options: Readonly<Record<string, GuidanceOption>>;
  /** @throws InvalidArgumentError when options and network do not fit */
  build<C>(options: Values, context: GuidanceContext<C>): BuiltGuidance<C>;
}

const number = (about: string, absent: number, min: number, max?: number): GuidanceOption => ({
  ...{ type: 'number', about, absent, min },
  ...(max !== undefined && { max }),
});
const whole = (about: string, absent: number, min: number, max: number): GuidanceOption => ({
  ...{ type: 'number', about, absent, min, max, whole: true },
});
const middle = (about: string): GuidanceOption => ({ type: 'layers', about, absent: 'middle' });

/** The settings that every guidance takes: the steps in which it holds, as fractions of all. */
export const commonGuidanceOptions: Readonly<Record<string, GuidanceOption>> = {
  start: number('fraction of the steps after which it begins', 0, 0, 1),
  stop: number('fraction of the steps after which it ends', 1, 0, 1),
};

const on: Readonly<Record<string, GuidanceOption>> = {
  on: {
    ...{ type: 'choice', absent: 'prediction', values: ['prediction', 'x0'] },
    about: "what is combined: the network's own prediction, as in diffusers, or estimates of x0",
  },
};
const from: Readonly<Record<string, GuidanceOption>> = {
  from: {
    ...{ type: 'choice', absent: 'unconditional', values: ['unconditional', 'conditional'] },
    about: 'where the scaled difference is added: u + s (c - u), or c + s (c - u)',
  },
};
const projection = (norm: number): Readonly<Record<string, GuidanceOption>> => ({
  momentum: number('weight of the earlier differences', -0.5, -1, 1),
  norm: number('longest difference of an image, as an L2 norm; 0: unlimited', norm, 0),
  parallel: number('weight of the part along the conditional prediction', 0, 0),
  ...on,
  ...from,
});

/** Options that were checked against their declarations. */
// biome-ignore lint/suspicious/noExplicitAny: each guidance has options of its own, which `createGuidance` checks
type Values = Readonly<Record<string, any>>;
const strength = (absent: number) => ({ scale: number('strength; 0 is none', absent, 0) });

/** A guidance by a way to combine two passes. */
function combined(
  facts: Omit<GuidanceRecord, 'kind' | 'needs' | 'passes' | 'build' | 'usesScale'> & { readonly usesScale?: boolean },
  combine: (options: Values, context: GuidanceContext<unknown>) => Combination,
): GuidanceRecord {
  return {
    usesScale: true,
    ...facts,
    ...{ kind: 'combination', needs: ['unconditional'], passes: 2 },
    build(options, context) {
      const isLinear = facts.options.on === undefined && !context.rescale; // the same on x0 as on any prediction
      const combination = finishedCombination(combine(options, context as GuidanceContext<unknown>), context);
      const prediction = isLinear ? undefined : predictionOf(options, context);
      return { guide: (plain) => guided(plain, combination, { ...context, prediction }) };
    },
  };
}

function predictionOf<C>({ on = 'prediction' }: GuidanceOptions, { prediction }: GuidanceContext<C>) {
  return on === 'x0' ? undefined : prediction;
}

/** A guidance away from the network with some layers disturbed. */
function layered(
  facts: Omit<GuidanceRecord, 'kind' | 'needs' | 'passes' | 'build' | 'usesScale'> & { readonly passes?: number },
  guide: <C>(plain: Denoiser<C>, chosen: Layers, options: Values, context: GuidanceContext<C>) => Denoiser<C>,
): GuidanceRecord {
  return {
    passes: 2,
    ...facts,
    ...{ kind: 'addition', needs: ['layers'], usesScale: false },
    build(options, context) {
      const chosen = layersOf(facts.name, String(options.layers ?? ''), context.network);
      return { guide: (plain) => guide(plain, chosen, options, context) };
    },
  };
}

function layersOf(name: string, wanted: string, network: Pick<Module, 'modules'> | undefined): Layers {
  if (network === undefined) throw new InvalidArgumentError(name, 'layers: this model does not show its network');
  if (wanted === 'middle') return middleSelfAttention(network);
  const paths = wanted.split(',').map((path) => path.trim());
  if (paths.some((path) => path === '')) {
    throw new InvalidArgumentError(name, "layers: expected paths of modules, such as 'blocks.7,blocks.8'");
  }
  return layersAt(network, paths);
}

/** Every guidance that can be named. A new one is a line here. */
export const guidances: readonly GuidanceRecord[] = [
  combined(
    {
      ...{ name: 'cfg', method: 'classifierFree', about: 'classifier-free guidance: u + s (c - u)' },
      paper: 'Ho & Salimans 2022, arXiv 2207.12598',
      options: from,
    },
    ({ from }, { scale }) => combineClassifierFree({ scale, from }),
  ),
  {
    ...{
      name: 'cfg-zero-star',
      method: 'zeroStar',
      about: 'the unconditional prediction at the length that fits best',
    },
    paper: 'Fan et al. 2025, arXiv 2503.18886',
    ...{ kind: 'combination', needs: ['unconditional'], passes: 2, usesScale: true },
    options: { zeroSteps: whole('first steps in which the prediction is taken as 0', 1, 0, 1000), ...from },
    build(options, context) {
      const { from, zeroSteps } = options;
      const { scale, schedule, prediction } = context;
      const steps = Math.min(zeroSteps, schedule.sigma.length - 1);
      const zeroAbove = steps === 0 ? undefined : intervalOfSteps(schedule, 0, steps - 1).low;
      return { guide: (plain) => zeroStar(plain, { ...context, scale, from, zeroAbove, prediction }) };
    },
  },
  combined(
    {
      ...{
        name: 'cfg-plus-plus',
        method: 'plusPlus',
        about: 'DDIM that noises with the unconditional eps (ddim, euler)',
      },
      paper: 'Chung et al. 2024, arXiv 2406.08070',
      usesScale: false,
      options: { lambda: number('fraction of the conditional estimate', 0.6, 0, 1) },
    },
    ({ lambda }, { schedule }) => combineClassifierFree({ scale: plusPlusScale(lambda, schedule) }),
  ),
  {
    ...{
      name: 'apg',
      method: 'adaptiveProjected',
      about: 'high scales without oversaturation: momentum, norm, projection',
    },
    paper: 'Sadat et al. 2024, arXiv 2410.02416',
    ...{ kind: 'combination', needs: ['unconditional'], passes: 2, usesScale: true },
    options: projection(15),
    build(options, context) {
      const { momentum, norm, parallel, from } = options;
      const apg = adaptiveProjected({
        ...{ scale: context.scale, momentum, norm, parallel, from, prediction: predictionOf(options, context) },
        ...{ rescale: context.rescale, channels: context.channels },
      });
      return { guide: (plain) => apg.guide(plain, context), memory: apg };
    },
  },
  {
    ...{
      name: 'apg-mix',
      method: 'projectedMix',
      about: 'cfg in the first steps, then apg with the momentum gathered',
    },
    paper: 'HunyuanImage 2.1',
    ...{ kind: 'combination', needs: ['unconditional'], passes: 2, usesScale: true },
    options: {
      plainSteps: whole('first steps, of cfg with the guidance scale', 5, 0, 1000),
      scale: number('scale of the projected steps', 10, 0),
      ...projection(10),
    },
    build(options, context) {
      const { plainSteps, scale, momentum, norm, parallel, from } = options;
      const last = context.schedule.sigma.length - 2;
      const mix = projectedMix({
        ...{ scale, momentum, norm, parallel, from, plainScale: context.scale },
        projectBelow: plainSteps > last ? 0 : intervalOfSteps(context.schedule, plainSteps, last).high,
        prediction: predictionOf(options, context),
        ...{ rescale: context.rescale, channels: context.channels },
      });
      return { guide: (plain) => mix.guide(plain, context), memory: mix };
    },
  },
  combined(
    {
      ...{ name: 'tcfg', method: 'tangential', about: 'leaves out what the unconditional prediction does across' },
      paper: 'Kwon et al. 2025, arXiv 2503.18137',
      options: { ...on, ...from },
    },
    ({ from }, { scale }) => combineTangential({ scale, from }),
  ),
  combined(
    {
      ...{ name: 'fdg', method: 'frequencyDecoupled', about: 'a scale for each level of a Laplacian pyramid' },
      paper: 'Sadat et al. 2025, arXiv 2506.19713',
      usesScale: false,
      options: {
        scales: { type: 'numbers', about: 'scales, the finest level first', absent: [10, 5] },
        ...on,
        ...from,
      },
    },
    ({ scales, from }) => combineFrequencyDecoupled({ scales, from }),
  ),
  combined(
    {
      ...{
        name: 'mambo-g',
        method: 'magnitudeAware',
        about: 'weak where guidance would change much, as in the first steps',
      },
      paper: 'arXiv 2508.03442',
      options: { damping: number('how fast the strength falls', 8, 0), ...on, ...from },
    },
    ({ damping, from }, { scale }) => combineMagnitudeAware({ scale, damping, from }),
  ),
  {
    ...{
      name: 'perp-neg',
      method: 'perpNeg',
      about: 'a negative prompt takes away only what the prompt does not ask for',
    },
    paper: 'Armandpour et al. 2023, arXiv 2304.04968',
    ...{ kind: 'combination', needs: ['unconditional', 'empty'], passes: 3, usesScale: true },
    options: { weight: number('weight of the negative prompt', 1, 0) },
    build(options, { scale, unconditional, empty, rescale = 0 }) {
      if (empty === undefined) throw new InvalidArgumentError('perp-neg', 'needs a negative prompt');
      if (rescale > 0) throw new InvalidArgumentError('perp-neg', 'is not rescaled: leave guidanceRescale out');
      const { weight } = options;
      const negatives = [{ cond: unconditional, weight }];
      return { guide: (plain) => perpNeg(plain, { scale, unconditional: empty, negatives }) };
    },
  },
  layered(
    {
      ...{ name: 'pag', method: 'perturbedAttention', about: 'away from the network whose tokens see only themselves' },
      paper: 'Ahn et al. 2024, arXiv 2403.17377',
      options: { ...strength(3), layers: middle('self-attention layers') },
    },
    (plain, chosen, { scale }) => perturbedAttention(plain, { scale, layers: chosen }),
  ),
  layered(
    {
      ...{ name: 'seg', method: 'smoothedEnergy', about: 'away from the network with blurred attention' },
      paper: 'Hong 2024, arXiv 2408.00760',
      options: {
        ...strength(3),
        layers: middle('self-attention layers'),
        deviation: number('deviation of the blur in tokens; 9999 and more: the mean', 9999, 0),
      },
    },
    (plain, chosen, { scale, deviation }) =>
      smoothedEnergy(plain, {
        ...{ scale, layers: chosen },
        deviation: deviation >= 9999 ? Number.POSITIVE_INFINITY : deviation,
      }),
  ),
  layered(
    {
      ...{ name: 'slg', method: 'skipLayer', about: 'away from the network without some of its blocks' },
      paper: 'Stability SD 3.5; Hyung et al. 2024, arXiv 2411.18664',
      options: {
        ...strength(2.8),
        layers: { type: 'layers', about: 'blocks, such as joint_blocks.7,joint_blocks.8', absent: undefined },
      },
    },
    (plain, chosen, { scale }) => skipLayer(plain, { scale, layers: chosen }),
  ),
  layered(
    {
      ...{ name: 'sag', method: 'selfAttention', about: 'away from what the network sees when its focus is blurred' },
      paper: 'Hong et al. 2023, arXiv 2210.00939',
      passes: 4,
      options: {
        ...strength(0.75),
        layers: middle('the one self-attention layer that is read'),
        deviation: number('deviation of the blur in pixels', 1, 0),
        threshold: number('pixels are blurred that receive more attention than this; the mean is 1', 1, 0),
      },
    },
    (plain, chosen, { scale, deviation, threshold }, { unconditional }) =>
      selfAttention(plain, {
        ...{ scale, layer: chosen, deviation, threshold },
        ...(unconditional != null && { condition: unconditional }),
      }),
  ),
  {
    ...{
      name: 'dynamic-thresholding',
      method: 'dynamicThresholding',
      about: 'clips each estimate at a quantile of itself',
    },
    paper: 'Saharia et al. 2022, arXiv 2205.11487',
    ...{ kind: 'after', needs: [], passes: 1, usesScale: false },
    options: { quantile: number('quantile of |x0|', 0.995, 0, 1), max: number('the most that it clips at', 1e6, 1) },
    build(options) {
      const { quantile, max } = options;
      return { guide: (plain) => thresholded(plain, { quantile, max }) };
    },
  },
];

/** Functions of this package that no name stands for, and how they are reached. */
export const composedInCode: Readonly<Record<string, string>> = {
  autoguidance: 'the option guidingModel opens the weaker network, and guidance is its scale',
  classifierGuidance: 'the option classifier opens the classifier, and classifierScale is its scale',
  classifierMeanGuidance: 'the same with ancestral steps and a learned variance (ADM)',
  distilledGuidance: 'models that are told the scale (FLUX.1 dev, LCM) read guidance',
  guidanceInterval: 'the setting guidanceInterval',
  combineRescaled: 'the setting guidanceRescale',
  guideVariance: 'samplers of networks with learned variance do it',
  together: 'several guidances in one request are added up',
  classifierFreeBatched: 'cfg, where the model takes both passes as one batch',
  estimateGuidance: 'needs a differentiable judge of clean images, which is a function of yours',
  directEstimateGuidance: 'needs a differentiable judge of clean images, which is a function of yours',
  clipGuidance: 'needs an image tower beside the pipeline, and an embedding to come near to',
  composed: 'needs several conditions with masks',
  regional: 'needs a condition for each region',
};

/**
 * The guidance of a name.
 *
 * @throws InvalidArgumentError when there is none, with all names
 */
export function guidanceNamed(name: string): GuidanceRecord {
  const found = guidances.find((record) => record.name === name);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(
    'guidance',
    `expected one of ${guidances.map((record) => record.name).join(', ')}, got '${name}'`,
  );
}

/** What is wrong with options of a guidance, a line each; empty when all fit. */
export function guidanceOptionProblems(record: GuidanceRecord, given: Readonly<Record<string, unknown>>): string[] {
  const all = { ...record.options, ...commonGuidanceOptions };
  const problems = Object.entries(given).flatMap(([name, value]) => {
    const option = Object.hasOwn(all, name) ? all[name] : undefined;
    if (option === undefined) return [`${record.name} has no option '${name}'; it has ${Object.keys(all).join(', ')}`];
    const expected = problemOf(option, value);
    return expected === undefined
      ? []
      : [`${record.name}: ${name}: expected ${expected}, got ${JSON.stringify(value)}`];
  });
  for (const [name, option] of Object.entries(all)) {
    if (option.absent === undefined && given[name] === undefined) {
      problems.push(`${record.name} needs the option ${name}: ${option.about}`);
    }
  }
  const { start = 0, stop = 1 } = given as { start?: number; stop?: number };
  if (start >= stop) problems.push(`${record.name}: start: expected less than stop (${stop}), got ${start}`);
  return problems;
}

function problemOf(option: GuidanceOption, value: unknown): string | undefined {
  if (option.type === 'layers') return typeof value === 'string' && value !== '' ? undefined : 'paths of modules';
  if (option.type !== 'numbers') return optionProblem(option, value);
  const fits = Array.isArray(value) && value.length > 0 && value.length <= 16;
  return fits && value.every((part) => Number.isFinite(part)) ? undefined : '1 to 16 numbers';
}

/** Options that were left out at their defaults. */
export function wholeGuidanceOptions({ options }: GuidanceRecord, given: GuidanceOptions): GuidanceOptions {
  const all = Object.entries({ ...options, ...commonGuidanceOptions });
  return Object.fromEntries(all.map(([name, { absent }]) => [name, given[name] ?? absent!]));
}

/**
 * Builds a guidance by its name.
 *
 * @throws InvalidArgumentError with everything that does not fit
 */
export function createGuidance<C>(name: string, given: GuidanceOptions, context: GuidanceContext<C>): BuiltGuidance<C> {
  const record = guidanceNamed(name);
  const problems = guidanceOptionProblems(record, given);
  if (problems.length > 0) throw new InvalidArgumentError('guidance', problems);
  const options = wholeGuidanceOptions(record, given);
  const built = record.build(options, context);
  const { start, stop } = options as { start: number; stop: number };
  if (start === 0 && stop === 1) return built;
  const steps = context.schedule.sigma.length - 1;
  const [first, last] = [Math.floor(start * steps), Math.floor(stop * steps) - 1];
  if (last < first) return { ...built, guide: (plain) => plain };
  const interval = intervalOfSteps(context.schedule, first, last);
  return { ...built, guide: (plain) => guidanceInterval(plain, built.guide, interval) };
}
