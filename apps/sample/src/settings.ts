import { readConfig } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { z } from 'zod';
import type { SampleFlags } from './command.js';

const fileSchema = z
  .strictObject({
    model: z.string(),
    out: z.string(),
    labels: z.string(),
    count: z.int().min(1),
    solver: z.enum(Object.keys(solvers) as [SolverName, ...SolverName[]]),
    steps: z.int().min(1),
    guidance: z.number().min(0),
    seed: z.int().min(0),
    batch: z.int().min(1),
    columns: z.int().min(1),
    scale: z.int().min(1),
    engine: z.string(),
  })
  .partial();

/** Flags over the configuration file's settings; the model must be named by one of them. */
export function mergeSettings(flags: SampleFlags): SampleFlags & { readonly model: string; readonly out: string } {
  const file = flags.config === undefined ? {} : readConfig(flags.config, fileSchema);
  const merged = { out: 'out/sample.png', ...file, ...flags };
  if (merged.model === undefined) {
    throw new InvalidArgumentError('--model', 'expected a model folder, for example --model models/digits');
  }
  return merged as SampleFlags & { readonly model: string; readonly out: string };
}
