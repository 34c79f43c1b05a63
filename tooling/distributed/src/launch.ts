import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../..', import.meta.url));

/** The `mpirun` of Open MPI on the path, if it is installed. */
export function findMpirun(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return ['mpirun.openmpi', 'mpirun'].flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
}

/** A job of `ranks` processes that run one of our TypeScript files; one rank needs no mpirun. */
export function launch(ranks: number, file: string, args: readonly string[], env: Record<string, string> = {}) {
  const node = ['--conditions=@mezzotint/source', '--import', './tooling/setup/typescript.mjs', file, ...args];
  const mpirun = ['--oversubscribe', '-np', String(ranks), process.execPath, ...node];
  const allowed = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const child: ChildProcess = spawn(ranks === 1 ? process.execPath : findMpirun()!, ranks === 1 ? node : mpirun, {
    ...{ cwd: root, env: { ...process.env, ...allowed, ...env } },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const take = (text: unknown) => {
    output += String(text);
  };
  child.stdout?.on('data', take);
  child.stderr?.on('data', take);
  const ended = new Promise<{ code: number | null; output: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, output })),
  );
  return { child, ended };
}

/** Process ids of the ranks that an mpirun has started, in no order; Linux only. */
export function ranksOf({ pid }: ChildProcess): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]) === pid;
      } catch {
        return false; // It has ended meanwhile.
      }
    })
    .map(Number);
}
