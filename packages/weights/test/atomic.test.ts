import { fork } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MezzotintError } from '@mezzotint/core';
import { readSafetensors, writeFileAtomically, writeSafetensors } from '@mezzotint/weights/node';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

// Writing goes through this copy of node:fs, so that a test can fill the disk.
vi.mock('node:fs', async (original) => ({ ...(await original<typeof fs>()) }));

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'mezzotint-atomic-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(folder, { recursive: true });
});

const state = (value: number) => ({ t: { shape: [1000], data: new Float32Array(1000).fill(value) } });

test.each([
  ['ENOSPC', 'the disk is full, free some space and try again; nothing was changed'],
  ['EIO', 'could not be written (EIO); nothing was changed'],
])('%s in the middle: the old file stays, the temporary one goes', async (code, message) => {
  const path = join(folder, 'm.safetensors');
  await writeSafetensors(path, state(1));
  const write = fs.writeSync;
  let calls = 0;
  vi.spyOn(fs, 'writeSync').mockImplementation(((handle: number, bytes: Uint8Array, ...rest: number[]) => {
    if (++calls > 1) throw Object.assign(new Error(code), { code });
    return write(handle, bytes, ...rest);
  }) as typeof fs.writeSync);
  const failing = writeSafetensors(path, state(2), { overwrite: true });
  await expect(failing).rejects.toThrow(message);
  await expect(failing).rejects.toSatisfy((e) => MezzotintError.isInstance(e) && e.code === 'MEZZOTINT_WRITE_FAILED');
  expect(fs.readdirSync(folder)).toEqual(['m.safetensors']);
  const source = readSafetensors(path);
  expect(source.read('t').data[0]).toBe(1);
  source.close();
});

test('an error of the writer leaves nothing behind', async () => {
  const path = join(folder, 'x.txt');
  await expect(
    writeFileAtomically(path, (append) => {
      append(new TextEncoder().encode('half'));
      throw new Error('stop');
    }),
  ).rejects.toThrow('stop');
  expect(fs.readdirSync(folder)).toEqual([]);
});

test('a name that is taken while the file is written is not replaced', async () => {
  const path = join(folder, 'x.txt');
  await expect(
    writeFileAtomically(path, () => {
      fs.writeFileSync(path, 'theirs');
    }),
  ).rejects.toThrow('exists already');
  expect(fs.readFileSync(path, 'utf8')).toBe('theirs');
  expect(fs.readdirSync(folder)).toEqual(['x.txt']);
});

test('killed at any moment (kill -9), the file is one whole version', async () => {
  const path = join(folder, 'm.safetensors');
  await writeSafetensors(path, {});
  const script = fileURLToPath(new URL('overwrite-forever.ts', import.meta.url));
  let last = 0;
  for (let kill = 0; kill < 4; kill++) {
    const child = fork(script, [path], { execArgv: ['--import', 'tsx', '--conditions=@mezzotint/source'] });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => child.once('message', resolve)); // It has written once and is writing again.
    await new Promise((resolve) => setTimeout(resolve, 7 * kill));
    child.kill('SIGKILL');
    await exited;
    const source = readSafetensors(path);
    const [a, b] = ['a', 'b'].map((name) => source.read(name).data);
    source.close();
    expect(new Set([...a!, ...b!]).size).toBe(1);
    last = a![0]!;
  }
  expect(last).toBeGreaterThan(0);
}, 60_000);
