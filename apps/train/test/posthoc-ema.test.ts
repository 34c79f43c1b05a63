import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSnapshot } from '@mezzotint/training/node';
import { readSafetensors } from '@mezzotint/weights/node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { posthocEmaCommand, runPosthocEma } from '../src/posthoc-ema.js';

let run: string;
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'posthoc-'));
});
afterEach(() => rmSync(run, { recursive: true }));

const quiet = { say: () => undefined, result: () => undefined };

test('averages of a run folder: a stored width comes back, another lies between', async () => {
  for (const [time, values] of Object.entries({ 1024: [1, 2], 2048: [3, 5] })) {
    for (const [i, sigmaRel] of [0.05, 0.1].entries()) {
      const tensors = { w: { shape: [1], data: Float32Array.of(values[i]!) } };
      await writeSnapshot(join(run, 'snapshots'), { sigmaRel, time: Number(time) }, { updates: 1, tensors });
    }
  }
  const results: object[] = [];
  const context = { say: () => undefined, result: (value: object) => void results.push(value) };
  await runPosthocEma({ run, sigmaRel: [0.05, 0.07, 0.1] }, context);
  const read = (width: number) => {
    const file = readSafetensors(join(run, 'posthoc-ema', `ema-${width}.safetensors`));
    const value = file.read('w').data[0]!;
    file.close();
    return value;
  };
  expect(read(0.05)).toBeCloseTo(3, 5);
  expect(read(0.1)).toBeCloseTo(5, 5);
  expect(results[0]).toMatchObject({ snapshots: 4 });
  await expect(runPosthocEma({ run, sigmaRel: [0.05] }, quiet)).rejects.toThrow(/exists already/);
});

test('averages of a LoRA make no model, and are written as adapters when asked for', async () => {
  const key = 'base_model.model.blocks.0.lora_A.weight';
  const tensors = { [key]: { shape: [1], data: Float32Array.of(2) } };
  await writeSnapshot(join(run, 'snapshots'), { sigmaRel: 0.1, time: 1024 }, { updates: 1, tensors });
  mkdirSync(join(run, 'model'));
  writeFileSync(join(run, 'model', 'config.json'), '{}');
  await expect(runPosthocEma({ run, sigmaRel: [0.1] }, quiet)).rejects.toThrow(
    /trained a LoRA, .* --snapshots .*snapshots/,
  );
  expect(existsSync(join(run, 'posthoc-ema'))).toBe(false);
  const out = join(run, 'adapters');
  await runPosthocEma({ snapshots: join(run, 'snapshots'), sigmaRel: [0.1], out }, quiet);
  const file = readSafetensors(join(out, 'ema-0.1.safetensors'));
  expect(file.read(key).data[0]).toBeCloseTo(2, 5);
  file.close();
});

test('what cannot be done is said in one message', async () => {
  await expect(runPosthocEma({ run, sigmaRel: [0.1] }, quiet)).rejects.toThrow(/ema.sigmaRel and ema.snapshotEvery/);
  await expect(runPosthocEma({ sigmaRel: [0.1] }, quiet)).rejects.toThrow(/expected --run or --snapshots/);
  const parse = (text: string) =>
    posthocEmaCommand().exitOverride().parse(['--run', run, '--sigma-rel', text], { from: 'user' });
  expect(() => parse('0.1,0.4')).toThrow(/sigmaRel must be above 0 and below 0.288/);
  expect(parse('0.05, 0.1').opts().sigmaRel).toEqual([0.05, 0.1]);
});
