import { MezzotintError } from '@mezzotint/core';
import type { Pipeline } from '@mezzotint/pipelines';
import { type SolverName, solvers } from '@mezzotint/schedulers';

/** Solvers that do something else than sample from noise with a network of any kind. */
const others: readonly SolverName[] = ['ddim-inverse', 'edict-inverse', 'consistency'];

/** True for a solver that can sample from the model. */
export async function usable(pipeline: Pipeline, solver: SolverName): Promise<boolean> {
  if (others.includes(solver)) return false;
  try {
    await pipeline.check({ solver, steps: 20 });
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
