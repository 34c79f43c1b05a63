import { InvalidArgumentError } from '@mezzotint/core';

/** Where a process stands among those that were started with it. */
export interface ProcessPlace {
  readonly rank: number;
  readonly size: number;
  /** Its number among those on the same machine, and how many they are; undefined where the launcher does not say. */
  readonly local?: { readonly rank: number; readonly size: number };
  /** Who says so. */
  readonly launcher: 'Open MPI' | 'PMI' | 'Slurm' | 'Kubernetes';
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Variables of each launcher: rank, size, and the same on one machine. */
const launchers: readonly {
  readonly launcher: ProcessPlace['launcher'];
  readonly rank: string;
  readonly size: string;
  readonly local?: readonly [string, string];
}[] = [
  {
    ...{ launcher: 'Open MPI', rank: 'OMPI_COMM_WORLD_RANK', size: 'OMPI_COMM_WORLD_SIZE' },
    local: ['OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_LOCAL_SIZE'],
  },
  { launcher: 'PMI', rank: 'PMI_RANK', size: 'PMI_SIZE', local: ['MPI_LOCALRANKID', 'MPI_LOCALNRANKS'] },
  // Of a step of srun. A batch script has SLURM_PROCID too, but it is one process, whatever the number of tasks.
  { launcher: 'Slurm', rank: 'SLURM_PROCID', size: 'SLURM_STEP_NUM_TASKS', local: ['SLURM_LOCALID', ''] },
  { launcher: 'Kubernetes', rank: 'JOB_COMPLETION_INDEX', size: 'JOB_COMPLETIONS' },
];

/**
 * The place of this process by the environment of `mpirun` (Open MPI, MPICH, Intel MPI), `srun` or an indexed job of Kubernetes;
 * undefined when none has started it. Kubernetes does not say how many there are: set JOB_COMPLETIONS in the job's template to
 * its `completions`.
 *
 * @throws InvalidArgumentError when the variables are no numbers or do not fit
 */
export function processPlace(env: Environment = process.env): ProcessPlace | undefined {
  for (const { launcher, rank, size, local } of launchers) {
    if (env[rank] === undefined || env[size] === undefined) continue;
    const [r, n] = [Number(env[rank]), Number(env[size])];
    if (!Number.isSafeInteger(r) || !Number.isSafeInteger(n) || n < 1 || r < 0 || r >= n) {
      const got = `${rank}=${env[rank]} and ${size}=${env[size]}`;
      throw new InvalidArgumentError('environment', `expected a rank from 0 and a size above it, got ${got}`);
    }
    const [localRank, localSize] = (local ?? []).map((name) => Number(env[name] ?? Number.NaN));
    const known = Number.isSafeInteger(localRank) && Number.isSafeInteger(localSize);
    return { rank: r, size: n, ...(known && { local: { rank: localRank!, size: localSize! } }), launcher };
  }
  return undefined;
}

/**
 * Part i of n as a pair: `i/n` as it is written; `auto/n` takes i from the environment; without text both come from there, and
 * undefined means that nobody says (or that there is one process).
 *
 * @throws InvalidArgumentError for any other text, and for `auto/n` where the environment has no rank below n
 */
export function shardOf(text: string | undefined, env: Environment = process.env): [number, number] | undefined {
  if (text === undefined) {
    const place = processPlace(env);
    return place === undefined || place.size === 1 ? undefined : [place.rank, place.size];
  }
  const [first, second] = /^(\d+|auto)\/(\d+)$/.exec(text)?.slice(1) ?? [];
  const n = Number(second);
  const ranks = launchers.map(({ rank }) => rank);
  const set = ranks.find((name) => env[name] !== undefined);
  if (first === 'auto' && set === undefined) {
    throw new InvalidArgumentError('--shard', `auto/${n}: expected one of ${ranks.join(', ')} in the environment`);
  }
  const i = first === 'auto' ? Number(env[set!]) : Number(first);
  if (first === undefined || n < 1 || !Number.isSafeInteger(i) || i < 0 || i >= n) {
    const from = first === 'auto' ? ` with ${set}=${env[set!]}` : '';
    throw new InvalidArgumentError(
      '--shard',
      `expected i/n with i from 0 to n - 1, such as 0/4 (or auto/4), got '${text}'${from}`,
    );
  }
  return [i, n];
}
