import { InvalidArgumentError, type TimeInput } from '@mezzotint/core';
import {
  epsilon,
  flow,
  type ProcessConfig,
  processOf,
  samplerFromDiffusers,
  vPrediction,
  x0,
} from '@mezzotint/schedulers';
import { readJson } from '@mezzotint/weights/node';

/** What the scheduler of a model does not say. */
export interface SchedulerProcessOptions {
  readonly time: TimeInput;
  readonly learnedVariance: boolean;
}

const BETAS = ['linear', 'scaled-linear', 'cosine'] as const;
const PREDICTIONS = [
  ['eps', epsilon],
  ['v', vPrediction],
  ['x0', x0],
] as const;

/** Of an alpha in float32, the root of a product of a thousand factors that are rounded to 6e-8 each. */
const ROUNDING = 1e-4;

/**
 * The process by which a model of diffusers was trained, from its `scheduler_config.json`: betas, steps and prediction, or a flow's shift.
 *
 * @throws InvalidArgumentError when a configuration of ours cannot say it
 */
export function schedulerProcess(file: string, { time, learnedVariance }: SchedulerProcessOptions): ProcessConfig {
  const json = readJson(file) as { readonly shift?: number; readonly use_dynamic_shifting?: boolean };
  const sampler = samplerFromDiffusers(json);
  if (sampler.parameterisation === flow) {
    const { shift = 1, use_dynamic_shifting: dynamic = false } = json;
    return { kind: 'flow', shift: dynamic ? 1 : shift, timeScale: time === 'unit' ? 1 : 1000 };
  }
  const steps = sampler.timeAt(1);
  const prediction = PREDICTIONS.find(([, one]) => one === sampler.parameterisation)?.[0];
  const isChain = (alphas: Float64Array) =>
    alphas.every((alpha, step) => Math.abs(sampler.levelAt(step).alpha - alpha) < ROUNDING);
  const betas = prediction && BETAS.find((name) => isChain(processOf({ betas: name, steps }).alpha));
  if (prediction === undefined || betas === undefined) {
    const known = BETAS.join(', ');
    throw new InvalidArgumentError(
      'init',
      `${file}: expected a process of discrete steps with the usual betas (${known}), got another one: say by --recipe how to train, or give a configuration with a process`,
    );
  }
  return { kind: 'discrete', betas, steps, prediction, learnedVariance };
}
