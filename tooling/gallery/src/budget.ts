import { checkSampling, type DiffusionConfig } from '@mezzotint/app';
import { MezzotintError } from '@mezzotint/core';
import { type SolverName, solvers } from '@mezzotint/schedulers';

/** Solvers that do something else than sample from noise with a network of any kind. */
const others: readonly SolverName[] = ['ddim-inverse', 'edict-inverse', 'consistency'];

/** True for a solver that can sample from the model. */
export function usable(config: DiffusionConfig, solver: SolverName): boolean {
  if (others.includes(solver)) return false;
  try {
    checkSampling({ ...config, sampling: { solver, steps: 20, guidance: 1 } });
    return true;
  } catch (error) {
    if (MezzotintError.isInstance(error)) return false;
    throw error;
  }
}

/** Steps that spend at most this many evaluations; undefined when not even two steps fit. */
export function stepsFor(solver: SolverName, evaluations: number): number | undefined {
  const steps = Math.floor(evaluations / solvers[solver].evaluations);
  return steps < 2 ? undefined : steps;
}
