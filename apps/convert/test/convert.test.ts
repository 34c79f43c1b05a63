import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { modulesOf } from '@mezzotint/weights';
import { readSafetensors, readTorch, readWeights } from '@mezzotint/weights/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ConvertFlags, runConvert } from '../src/command.js';

// A snapshot with EDM2's structure and a placeholder for source text: tooling/golden/scripts/edm2_snapshot.py.
const snapshot = fileURLToPath(
  new URL('../../../packages/weights/test/fixtures/torch/edm2-img8-tiny-0000020-0.100.pkl', import.meta.url),
);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'convert-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function run(input: string, output: string, flags: ConvertFlags = {}) {
  const lines: string[] = [];
  const results: object[] = [];
  await runConvert([input, join(folder, output)], flags, {
    say: (line) => void lines.push(line),
    result: (value) => void results.push(value),
  });
  return { said: lines.join('\n'), result: results[0] };
}

test('a snapshot of EDM2 keeps every number and says how its network was constructed', async () => {
  const { said, result } = await run(snapshot, 'x.safetensors', { dtype: 'F16' });
  expect(said).toMatch(
    /x\.safetensors: 63 tensors, [\d,]+ numbers, of 'ema', class Precond, its configuration in the metadata/,
  );
  expect(result).toMatchObject({ tensors: 63, part: 'ema', dtype: 'F16', className: 'Precond' });
  const before = await readTorch(snapshot);
  const after = readSafetensors(join(folder, 'x.safetensors'));
  expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
  for (const name of before.tensors.keys()) expect(await after.read(name)).toEqual(await before.read(name));
  expect(modulesOf(after)).toEqual(before.modules);
  after.close();
  before.close();
});

test('hostile and damaged snapshots are refused, and nothing is written', async () => {
  // A pickle that would call os.system('true'): protocol 2, GLOBAL, a tuple of one text, REDUCE, STOP.
  const call = Buffer.concat([
    Buffer.from('\x80\x02cos\nsystem\nX\x04\x00\x00\x00', 'latin1'),
    Buffer.from('true\x85R.', 'latin1'),
  ]);
  writeFileSync(join(folder, 'call.pkl'), call);
  writeFileSync(join(folder, 'empty.pkl'), '');
  writeFileSync(join(folder, 'text.pkl'), 'import os; os.system("true")');
  await expect(run(join(folder, 'call.pkl'), 'x.safetensors')).rejects.toThrow(
    /holds no tensors. It names what is not understood: os.system/,
  );
  for (const name of ['empty.pkl', 'text.pkl']) {
    await expect(run(join(folder, name), 'x.safetensors')).rejects.toThrow(InvalidFileError);
  }
  expect(readdirSync(folder).sort()).toEqual(['call.pkl', 'empty.pkl', 'text.pkl']);
});

test('an output that is there, or of another kind, is refused', async () => {
  writeFileSync(join(folder, 'x.safetensors'), '');
  await expect(run(snapshot, 'x.safetensors')).rejects.toThrow(/exists already/);
  await expect(run(snapshot, 'x.pt')).rejects.toThrow(InvalidArgumentError);
});

const digits = fileURLToPath(new URL('../../../models/digits', import.meta.url));

test('a model folder becomes one with weights of 8 bits, which open as before', async () => {
  const { said, result } = await run(digits, 'small', { dtype: 'I8' });
  expect(said).toMatch(/small: \d+ files, [\d,]+ numbers in [\d.]+ MB/);
  const small = join(folder, 'small');
  expect(readdirSync(small).sort()).toEqual(readdirSync(digits).sort());
  expect(readFileSync(join(small, 'config.json'))).toEqual(readFileSync(join(digits, 'config.json')));
  const sizes = [small, digits].map((place) => statSync(join(place, 'model.safetensors')).size);
  expect(sizes[0]! / sizes[1]!).toBeLessThan(0.56);
  expect(result).toMatchObject({ dtype: 'I8', files: readdirSync(digits).length });
  const [before, after] = [readSafetensors(join(digits, 'model.safetensors')), await readWeights(small)];
  expect(after.tensors.size).toBe(before.tensors.size);
  for (const [name, { shape }] of before.tensors) {
    const [wide, narrow] = [before.read(name).data, (await after.read(name)).data] as Float32Array[];
    // Half a step of the widest row, or half's rounding.
    const most = wide!.reduce((m, value) => Math.max(m, Math.abs(value)), 0);
    const error = wide!.reduce((m, value, i) => Math.max(m, Math.abs(value - narrow![i]!)), 0);
    expect(error, name).toBeLessThanOrEqual((most / 254) * 1.001);
    expect(after.tensors.get(name)!.shape).toEqual(shape);
  }
  before.close();
  after.close();
  await expect(run(digits, 'small', { dtype: 'I8' })).rejects.toThrow(/is there already/);
  await expect(run(digits, 'other', { part: 'ema' })).rejects.toThrow(/no parts/);
});

test('the files of a Hugging Face snapshot are links; those of the output are files', async () => {
  const linked = join(folder, 'linked');
  mkdirSync(linked);
  for (const name of readdirSync(digits)) symlinkSync(join(digits, name), join(linked, name));
  await run(linked, 'own', { dtype: 'F16' });
  for (const name of readdirSync(digits)) expect(lstatSync(join(folder, 'own', name)).isFile(), name).toBe(true);
});

test('a folder that is replaced keeps what people put into it, however its name is written', async () => {
  const small = join(folder, 'small');
  cpSync(digits, small, { recursive: true });
  rmSync(join(small, 'README.md'));
  mkdirSync(join(small, 'notes'));
  writeFileSync(join(small, 'prompts.txt'), 'mine');
  writeFileSync(join(small, 'notes', 'a.txt'), 'mine too');
  const weights = join(small, 'model.safetensors');
  const before = statSync(weights).size;
  await expect(run(digits, 'small/', { dtype: 'I8' })).rejects.toThrow(/is there already: choose another, or --over/);
  await run(digits, 'small/', { dtype: 'I8', overwrite: true });
  expect(statSync(weights).size).toBeLessThan(before);
  expect(readFileSync(join(small, 'prompts.txt'), 'utf8')).toBe('mine');
  expect(readFileSync(join(small, 'notes', 'a.txt'), 'utf8')).toBe('mine too');
  // A new folder by such a name, too, and nothing else is left beside them.
  await run(digits, 'new/', { dtype: 'I8' });
  expect(readdirSync(join(folder, 'new')).sort()).toEqual(readdirSync(digits).sort());
  expect(readdirSync(folder).sort()).toEqual(['new', 'small']);
});

test('of a run its model is converted; a run is never replaced, nor what is read', async () => {
  const runFolder = join(folder, 'run');
  cpSync(digits, join(runFolder, 'model'), { recursive: true });
  mkdirSync(join(runFolder, 'checkpoints'));
  writeFileSync(join(runFolder, 'config.json'), JSON.stringify({ task: 'diffusion', steps: 10 }));
  writeFileSync(join(runFolder, 'checkpoints', 'optimizer.safetensors'), 'moments');
  await run(runFolder, 'small', { dtype: 'I8' });
  expect(readdirSync(join(folder, 'small')).sort()).toEqual(readdirSync(digits).sort());
  const overwrite = { dtype: 'I8', overwrite: true } as const;
  await expect(run(runFolder, 'run', overwrite)).rejects.toThrow(/run holds .*model, which is read/);
  await expect(run(digits, 'run', overwrite)).rejects.toThrow(/is there already and is a run folder/);
  await expect(run(join(runFolder, 'model'), 'run/model/small')).rejects.toThrow(/lies in .*model, which is read/);
  writeFileSync(join(folder, 'package.json'), '{}');
  await expect(run(digits, '.', overwrite)).rejects.toThrow(/is there already and is no model folder/);
  rmSync(join(runFolder, 'model'), { recursive: true });
  await expect(run(runFolder, 'other')).rejects.toThrow(/is a run that has not ended/);
  expect(readFileSync(join(runFolder, 'checkpoints', 'optimizer.safetensors'), 'utf8')).toBe('moments');
  expect(readdirSync(folder).sort()).toEqual(['package.json', 'run', 'small']);
});
