import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runApp } from '@mezzotint/app/testing';
import { testEngines } from '@mezzotint/backend/testing';
import { writePng } from '@mezzotint/data';
import { InceptionV3 } from '@mezzotint/features';
import { formulaWeights, inceptionWeight, noisyRamp, plainWeight } from '@mezzotint/testing';
import { ClipModel } from '@mezzotint/text-encoders';
import { writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evaluateCommand } from '../src/command.js';
import { evaluate } from '../src/evaluate.js';
import references from './fixtures/references.json' with { type: 'json' };

const root = mkdtempSync(join(tmpdir(), 'mezzotint-agreement-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const weights = join(root, 'inception.safetensors');
const engines = (await testEngines()).filter((engine) => !['cpu', 'wasm'].includes(engine)); // 5.7 G multiply-adds a picture

beforeAll(async () => {
  const { size, count, smooth } = references;
  for (const [name, share] of Object.entries(smooth)) {
    mkdirSync(join(root, name));
    for (let i = 0; i < count; i++) {
      const file = join(root, name, `${String(i).padStart(3, '0')}.png`);
      await writePng(file, { data: noisyRamp(`${name}-${i}`, size, share), height: size, width: size, channels: 3 });
    }
  }
  const inception = new InceptionV3({ classes: 1008, pooling: 'tensorflow' });
  await writeSafetensors(weights, formulaWeights(inception, inceptionWeight));
});

type Metrics = Record<string, { value: number; parts?: Record<string, number> }>;
async function metricsOf(engine: string, features: string, metrics: string): Promise<Metrics> {
  const sides = ['--images', join(root, 'generated'), '--data', join(root, 'real')];
  const network = ['--features', features, '--features-weights', weights, '--metrics', metrics, '--engine', engine];
  const { code, out, err } = await runApp(evaluateCommand(), evaluate, [...sides, ...network, '--json']);
  expect(code, err).toBe(0);
  return (JSON.parse(out) as { rows: { metrics: Metrics }[] }).rows[0]!.metrics;
}

// The bar of the project: 1e-3 of the value, on the same pictures and weights. Inception runs in float32 on both sides.
const agree = (ours: number, theirs: number, tolerance = 1e-3) =>
  expect(Math.abs(ours / theirs - 1), `${ours} and ${theirs}`).toBeLessThan(tolerance);

test.runIf(engines.length > 0)('torch-fidelity: FID, KID, IS, precision and recall', async () => {
  const { fid, kid, is, prdc } = await metricsOf(engines[0]!, 'inception', 'fid,kid,is,prdc');
  const theirs = references['torch-fidelity 2048'];
  agree(fid!.value, theirs.frechet_inception_distance);
  agree(kid!.value, theirs.kernel_inception_distance_mean); // float32 there: its own spread over equal subsets is 2e-7
  agree(is!.value, theirs.inception_score_mean, 1e-6); // near 1, as the network is a random one
  expect(prdc!.parts!.precision).toBeCloseTo(theirs.precision, 6);
  expect(prdc!.parts!.recall).toBeCloseTo(theirs.recall, 6);
});

test.runIf(engines.length > 0)('clean-fid and pytorch-fid: FID with their resizing', async () => {
  agree((await metricsOf(engines[0]!, 'inception-clean', 'fid')).fid!.value, references['clean-fid 2048']);
  agree((await metricsOf(engines[0]!, 'inception-pytorch', 'fid')).fid!.value, references['pytorch-fid 2048']);
});

// One layer each, so that a small engine runs it too; the names, shapes and preprocessing are those of ViT-B/32.
test('torchmetrics: CLIP score of prompts and a folder', async () => {
  const tower = { layers: 1, activation: 'quick', epsilon: 1e-5, projection: 512 } as const;
  const clip = new ClipModel({
    text: { ...tower, vocabSize: 49408, positions: 77, pooledToken: 'largest', width: 64, mlpWidth: 64, heads: 1 },
    vision: { ...tower, imageSize: 224, patchSize: 32, channels: 3, width: 768, mlpWidth: 64, heads: 12 },
  });
  const { prompts, score } = references['torchmetrics CLIP score'];
  const [file, folder, texts] = ['clip.safetensors', 'prompted', 'prompts.txt'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  await writeSafetensors(file, formulaWeights(clip, plainWeight));
  mkdirSync(folder);
  for (const [i] of prompts.entries()) {
    const data = noisyRamp(`generated-${i}`, references.size, references.smooth.generated);
    const { size } = references;
    await writePng(join(folder, `${i}.png`), { data, height: size, width: size, channels: 3 });
  }
  const network = ['--features', 'clip-vit-b-32', '--features-weights', file, '--engine', engines[0] ?? 'cpu'];
  const run = async (lines: readonly string[]) => {
    writeFileSync(texts, `${lines.join('\n')}\n`);
    return runApp(evaluateCommand(), evaluate, ['--images', folder, '--prompts', texts, ...network, '--json']);
  };
  const { code, out, err } = await run(prompts);
  expect(code, err).toBe(0);
  const { metrics } = (JSON.parse(out) as { rows: { metrics: Metrics }[] }).rows[0]!;
  agree(metrics['clip-score']!.parts!.torchmetrics!, score);
  agree(metrics['clip-score']!.value, score / 100); // the cosine that the lecture prints
  const short = await run(prompts.slice(1));
  expect([short.code, short.err]).toEqual([2, expect.stringMatching(/expected 4 prompts, .* got 3/)]);
});
