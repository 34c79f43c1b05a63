import { readConfig } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { z } from 'zod';
import type { EvaluateFlags } from './command.js';

const fileSchema = z
  .strictObject({
    model: z.string(),
    classifier: z.string(),
    data: z.string(),
    count: z.int().min(8),
    guidance: z.array(z.number().min(0)).min(1).max(100),
    solver: z.enum(Object.keys(solvers) as [SolverName, ...SolverName[]]),
    steps: z.int().min(1),
    seed: z.int().min(0),
    batch: z.int().min(1),
    engine: z.string(),
  })
  .partial();

type Settings = EvaluateFlags & {
  readonly model: string;
  readonly classifier: string;
  readonly data: string;
  readonly count: number;
};

/** Flags over the configuration file's settings over the defaults. */
export function mergeSettings(flags: EvaluateFlags): Settings {
  const file = flags.config === undefined ? {} : readConfig(flags.config, fileSchema);
  const merged = { data: 'digits', count: 1000, ...file, ...flags };
  const problems = (['model', 'classifier'] as const)
    .filter((name) => merged[name] === undefined)
    .map(
      (name) =>
        `--${name}: expected a folder, for example --${name} models/digits${name === 'model' ? '' : '-classifier'}`,
    );
  if (problems.length > 0) throw new InvalidArgumentError('evaluate', problems);
  return merged as Settings;
}
