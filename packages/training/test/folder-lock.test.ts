import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MezzotintError } from '@mezzotint/core';
import { afterAll, expect, test } from 'vitest';
import { lockFolder } from '../src/node.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-lock-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Another process that locks a folder and then waits; resolves when it has the lock. */
async function holder(folder: string) {
  const script = `import { lockFolder } from './src/node.ts'; lockFolder(process.argv[1]); console.log('held'); setInterval(() => {}, 1e6);`;
  const node = spawn(
    process.execPath,
    ['--conditions=@mezzotint/source', '--import', 'tsx', '--input-type=module', '-e', script, folder],
    { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise((resolve) => node.stdout.once('data', resolve));
  const ended = new Promise((resolve) => node.once('exit', resolve));
  const kill = () => {
    node.kill('SIGKILL');
    return ended;
  };
  return { pid: node.pid!, kill };
}

function refusal(folder: string): MezzotintError | undefined {
  try {
    lockFolder(folder).release();
    return undefined;
  } catch (error) {
    return error as MezzotintError;
  }
}

test('another process is refused while this one lives; the lock of a killed one is taken over', async () => {
  const folder = join(root, 'run');
  const other = await holder(folder);
  const error = refusal(folder);
  expect(error?.code).toBe('MEZZOTINT_FOLDER_LOCKED');
  expect(error?.message).toContain(`process ${other.pid} on "${hostname()}" writes there`);
  await other.kill();
  expect(existsSync(join(folder, '.lock'))).toBe(true);
  expect(refusal(folder)).toBeUndefined();
  expect(readdirSync(folder)).toEqual([]);
}, 30_000);

test('one process may lock a folder twice; it is free when both are released', () => {
  const folder = join(root, 'twice');
  const [one, two] = [lockFolder(folder), lockFolder(join(folder, '..', 'twice'))];
  one.release();
  one.release();
  expect(existsSync(join(folder, '.lock'))).toBe(true);
  two.release();
  expect(existsSync(join(folder, '.lock'))).toBe(false);
});

test('a lock of another machine is kept; damaged ones, and those of a number that was used again, are not', () => {
  const folder = join(root, 'kinds');
  lockFolder(folder).release();
  const lock = (holder: unknown) =>
    writeFileSync(join(folder, '.lock'), typeof holder === 'string' ? holder : JSON.stringify(holder));
  lock({ pid: process.pid, host: 'elsewhere\u001b[2J', started: '1' });
  expect(refusal(folder)?.message).toContain('on "elsewhere\\u001b[2J" writes there');
  for (const stale of ['', '{"pid":', { pid: 'x' }, { pid: 2 ** 31 - 2, host: hostname(), started: null }]) {
    lock(stale);
    expect(refusal(folder), JSON.stringify(stale)).toBeUndefined();
  }
  if (process.platform === 'linux') {
    lock({ pid: process.ppid, host: hostname(), started: '1' }); // Alive, but not the process that began then.
    expect(refusal(folder)).toBeUndefined();
    const started = readFileSync(`/proc/${process.ppid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19];
    lock({ pid: process.ppid, host: hostname(), started });
    expect(refusal(folder)?.code).toBe('MEZZOTINT_FOLDER_LOCKED');
  }
});
