import { expect, test } from 'vitest';
import { processPlace, shardOf } from '../src/index.js';

test.each([
  [
    {
      OMPI_COMM_WORLD_RANK: '1',
      OMPI_COMM_WORLD_SIZE: '4',
      OMPI_COMM_WORLD_LOCAL_RANK: '1',
      OMPI_COMM_WORLD_LOCAL_SIZE: '2',
    },
    { rank: 1, size: 4, local: { rank: 1, size: 2 }, launcher: 'Open MPI' },
  ],
  [
    { PMI_RANK: '0', PMI_SIZE: '2' },
    { rank: 0, size: 2, launcher: 'PMI' },
  ],
  [
    { SLURM_PROCID: '5', SLURM_STEP_NUM_TASKS: '8' },
    { rank: 5, size: 8, launcher: 'Slurm' },
  ],
  [
    { JOB_COMPLETION_INDEX: '2', JOB_COMPLETIONS: '3' },
    { rank: 2, size: 3, launcher: 'Kubernetes' },
  ],
  // The batch script of a Slurm job of 8 tasks is one process.
  [{ SLURM_PROCID: '0', SLURM_NTASKS: '8' }, undefined],
  [{ JOB_COMPLETION_INDEX: '2' }, undefined],
  [{}, undefined],
])('the place by %j', (env, place) => {
  expect(processPlace(env)).toEqual(place);
});

test('a shard by flag, by environment, and by both', () => {
  const mpi = { OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '4' };
  expect(shardOf('3/8', mpi)).toEqual([3, 8]);
  expect(shardOf(undefined, mpi)).toEqual([1, 4]);
  expect(shardOf(undefined, {})).toBeUndefined();
  expect(shardOf(undefined, { OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '1' })).toBeUndefined();
  expect(shardOf('auto/5', { JOB_COMPLETION_INDEX: '4' })).toEqual([4, 5]);
  expect(() => shardOf('auto/4', { JOB_COMPLETION_INDEX: '4' })).toThrow("got 'auto/4' with JOB_COMPLETION_INDEX=4");
  expect(() => shardOf('auto/4', {})).toThrow('expected one of OMPI_COMM_WORLD_RANK');
  for (const text of ['4/4', '1', 'a/2', '-1/2', '0/0']) expect(() => shardOf(text, {})).toThrow(`got '${text}'`);
  expect(() => processPlace({ PMI_RANK: '2', PMI_SIZE: '2' })).toThrow('got PMI_RANK=2 and PMI_SIZE=2');
});
