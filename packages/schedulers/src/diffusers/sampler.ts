import { InvalidArgumentError } from '@mezzotint/core';
import { withClipping } from '../clipping.js';
import { epsilon, type Parameterisation, vPrediction, x0 } from '../parameterisation.js';
import { type Sampler, sampler } from '../sampler.js';
import { type DiscreteProcess, noiseRatioAt, processLevel } from '../schedules/process.js';
import { levelAt } from '../schedules/schedule.js';
import { discreteTime } from '../schedules/time-of.js';
import { continuousFamilies } from './continuous.js';
import { families } from './families.js';
import { type FlowMatchOptions, flowMatchClasses, flowMatchSampler } from './flow-match.js';
import { endingFinite, forwardProcessOf } from './forward-process.js';
import { limitOf } from './limit.js';
import { Settings } from './settings.js';

/** What a file does not say. */
export interface DiffusersSamplerOptions {
  /** The argument `eta` of diffusers' pipelines, for DDIM and TCD (its gamma); 0, as there. */
  readonly eta?: number;
  /** What a pipeline asks a flow matching scheduler for; StableDiffusion3Pipeline's levels, times and shift when absent. */
  readonly flow?: FlowMatchOptions;
}

const predictions: Readonly<Record<string, Parameterisation>> = { epsilon, v_prediction: vPrediction, sample: x0 };

/**
 * Solver, noise levels and prediction from the scheduler_config.json of a checkpoint of diffusers: DDIM, DDPM, PNDM, Euler,
 * Euler ancestral, Heun, LMS, KDPM2 and its ancestral form, DPM-Solver multistep and singlestep, DEIS, UniPC, LCM, TCD, IPNDM,
 * EDM's Euler and DPM-Solver, and flow matching by Euler and Heun. Settings of other classes in the
 * file are left out, as diffusers does; absent ones take the class's defaults. The numbers are those of float32 chains, as there.
 *
 * @param json the file, parsed
 * @throws InvalidArgumentError naming the class, or every setting, that we do not build
 */
export function samplerFromDiffusers(json: unknown, { eta = 0, flow = {} }: DiffusersSamplerOptions = {}): Sampler {
  const who = 'samplerFromDiffusers';
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidArgumentError(who, `expected a configuration as a JSON object, got ${JSON.stringify(json)}`);
  }
  const given = json as Readonly<Record<string, unknown>>;
  const name = given._class_name;
  if (flowMatchClasses.some((known) => known === name)) return flowMatchSampler(given, flow);
  const continuous = typeof name === 'string' && Object.hasOwn(continuousFamilies, name) ? name : undefined;
  if (continuous !== undefined) {
    const { defaults, make } = continuousFamilies[continuous]!;
    const settings = new Settings(given, defaults);
    const made = make(settings);
    settings.check(who);
    return made;
  }
  const family = typeof name === 'string' && Object.hasOwn(families, name) ? families[name] : undefined;
  if (family === undefined) {
    const known = [...Object.keys(families), ...Object.keys(continuousFamilies), ...flowMatchClasses].join(', ');
    throw new InvalidArgumentError(who, `_class_name: expected one of ${known}, got ${JSON.stringify(name)}`);
  }
  const settings = new Settings(given, family.defaults);
  if (!(eta >= 0 && eta <= 1)) settings.problems.push(`eta: expected a number in [0, 1], got ${eta}`);
  const prediction = settings.read('prediction_type', 'epsilon', family.predictions ?? Object.keys(predictions));
  const limit = limitOf(settings);
  const process = forwardProcessOf(settings, family.curves);
  // Where the chain is wrong, the rest is read all the same, so that everything that is wrong is said.
  const made = family.make({ settings, process: process ?? ANY_CHAIN, limit, eta });
  settings.check(who);
  const chain = process!;
  const total = chain.alpha.length;
  const finite = endingFinite(chain);
  return sampler({
    parameterisation: predictions[prediction]!,
    timeOf: discreteTime(chain),
    solver: made.solver,
    learnedVariance: made.learnedVariance ?? false,
    limit,
    spreadsStrength: made.spreadsStrength ?? false,
    levels: ({ steps, strength }) => made.table(steps, strength),
    ratios: { min: noiseRatioAt(finite, 0), max: noiseRatioAt(finite, total - 1) },
    initNoiseSigma(schedule) {
      const { alpha, sigma } = levelAt(schedule, 0);
      return made.start === 'sigma' ? sigma : Math.hypot(alpha, sigma);
    },
    levelAt: (time) => processLevel(chain, time),
    timeAt: (fraction) => Math.round(total * fraction),
    finishEstimate: (guided, wanted) => {
      // A solver that limits by itself knows the file's limit only.
      const inRange = withClipping(guided, family.limits && wanted === limit ? null : wanted);
      return made.finishEstimate ? made.finishEstimate(inRange) : inRange;
    },
  });
}

const ANY_CHAIN: DiscreteProcess = { alpha: Float64Array.of(0.8, 0.6), sigma: Float64Array.of(0.6, 0.8) };
