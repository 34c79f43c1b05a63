import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadMpi } from '../src/mpi-library.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** A launcher on the path, if it is installed. */
function launcher(...names: string[]): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((file) => existsSync(file));
}

function run(mpirun: string, ranks: number, mode: string, extra: readonly string[] = []) {
  const node = ['node', '--conditions=@mezzotint/source', '--import', './tooling/setup/typescript.mjs'];
  const child = fileURLToPath(new URL('./mpi-child.ts', import.meta.url));
  return spawnSync(mpirun, [...extra, '-np', String(ranks), ...node, child, mode], {
    ...{ cwd: root, encoding: 'utf8', timeout: 100_000 },
    env: { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1', NODE_OPTIONS: '' },
  });
}

const openMpi = launcher('mpirun.openmpi', 'mpirun');
const mpich = launcher('mpirun.mpich');

describe.skipIf(openMpi === undefined)('Open MPI', () => {
  test.each([1, 2, 4])('%i processes do what a group does', (ranks) => {
    const { stdout, stderr } = run(openMpi!, ranks, 'check', ['--oversubscribe']);
    expect(stdout, stderr).not.toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ size: ranks, wrong: [] });
  });

  test('a rank that gives up, or that fails, ends the job with its reason', () => {
    const given = run(openMpi!, 2, 'die', ['--oversubscribe']);
    expect(given.status).not.toBe(0);
    expect(given.stderr).toContain('rank 1 of 2 ends the job: the disk is full');
    const thrown = run(openMpi!, 2, 'throw', ['--oversubscribe']);
    expect(thrown.status).not.toBe(0);
    expect(thrown.stderr).toContain('a fault of rank 1');
  });
});

describe.skipIf(mpich === undefined)('MPICH', () => {
  test('two processes do what a group does', () => {
    const { stdout, stderr } = run(mpich!, 2, 'check');
    expect(stdout, stderr).not.toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ size: 2, wrong: [] });
  });
});

test('without a library the error says what was tried and what to install', async () => {
  await expect(loadMpi(undefined, '/nowhere/libmpi.so')).rejects.toThrow(
    /no MPI library could be loaded\. Tried \/nowhere\/libmpi\.so: .*apt-get install openmpi-bin libopenmpi3/,
  );
});
