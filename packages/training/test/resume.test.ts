import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TorchGenerator } from '@mezzotint/core';
import { afterAll, beforeAll, expect, test } from 'vitest';

const UPDATES = 40;
const KILLS = 3;
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'mezzotint-resume-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Runs the child; kills it (SIGKILL) `killAfter` milliseconds after its first checkpoint. Resolves to what it printed. */
function child(folder: string, killAfter?: number): Promise<string> {
  const script = fileURLToPath(new URL('resume-child.ts', import.meta.url));
  const node = spawn(
    process.execPath,
    ['--conditions=@mezzotint/source', '--import', 'tsx', script, folder, String(UPDATES)],
    { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let out = '';
  let errors = '';
  node.stdout.on('data', (text) => {
    const first = !out.includes('saved');
    out += text;
    if (first && out.includes('saved') && killAfter !== undefined) setTimeout(() => node.kill('SIGKILL'), killAfter);
  });
  node.stderr.on('data', (text) => {
    errors += text;
  });
  return new Promise((resolve, reject) => {
    node.on('exit', (code) => {
      if (code === 0 || killAfter !== undefined) resolve(out);
      else reject(new Error(errors));
    });
  });
}

test('killed again and again while it writes, a run ends with the same bytes as one never stopped', async () => {
  const straight = child(join(root, 'straight'));
  const killed = join(root, 'killed');
  // The moments are random but fixed; most of a child's time is spent in writing checkpoints.
  const moments = Array.from(new TorchGenerator(11).rand(KILLS), (u) => Math.floor(u * 80));
  const starts: number[] = [];
  for (const moment of moments) starts.push(startOf(await child(killed, moment)));
  const last = await child(killed);
  starts.push(startOf(last));

  expect(await straight).toContain(`saved ${UPDATES}`);
  expect(last).toContain('done');
  expect(starts[0]).toBe(0);
  // Each run went on from a checkpoint of the one before, and at least one was stopped before its end.
  for (let i = 1; i < starts.length; i++) expect(starts[i]).toBeGreaterThanOrEqual(starts[i - 1]!);
  expect(starts.some((start) => start > 0 && start < UPDATES)).toBe(true);
  for (const name of [
    'model.safetensors',
    'average-ema.safetensors',
    'optimizer.safetensors',
    'state.json',
    'manifest.json',
  ]) {
    const path = join(`checkpoint-${UPDATES}`, name);
    const [a, b] = [await readFile(join(root, 'straight', path)), await readFile(join(killed, path))];
    expect(b.equals(a), name).toBe(true);
  }
}, 180_000);

function startOf(out: string): number {
  return Number(/start (\d+)/.exec(out)?.[1]);
}
