import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runApp } from '@mezzotint/app/testing';
import { testEngines } from '@mezzotint/backend/testing';
import type { HostTensor } from '@mezzotint/core';
import { writePng } from '@mezzotint/data';
import { InceptionV3 } from '@mezzotint/features';
import { writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evaluateCommand } from '../src/command.js';
import { evaluate } from '../src/evaluate.js';
import references from './fixtures/references.json' with { type: 'json' };

/** The hash of tooling/golden/scripts/evaluate.py. */
function bits(name: string): (i: number) => number {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(name)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  const start = (crc ^ 0xffffffff) >>> 0;
  return (i) => {
    let x = (start + i) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    return (x ^ (x >>> 16)) >>> 0;
  };
}

function weight(name: string, shape: readonly number[]): HostTensor {
  const at = bits(name);
  const fanIn = shape.slice(1).reduce((n, d) => n * d, 1);
  const of = name.endsWith('running_var')
    ? (v: number) => 1 + 0.5 * Math.abs(v)
    : name.endsWith('bn.weight')
      ? (v: number) => 1 + 0.1 * v
      : (v: number) => (shape.length > 1 ? Math.sqrt(6 / fanIn) : 0.1) * v;
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1)).map((_, i) => of(2 * (at(i) / 2 ** 32) - 1));
  return { shape, data };
}

function picture(name: string, smooth: number): Uint8Array {
  const { size } = references;
  const at = bits(name);
  return Uint8Array.from({ length: size * size * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % size, Math.floor(i / 3 / size)];
    const slope = (axis: number) => (at(axis * 3 + c) >>> 24) / 255;
    const ramp = (255 * (slope(0) * (x / (size - 1)) + slope(1) * (y / (size - 1)))) / 2;
    return Math.floor(smooth * ramp + (1 - smooth) * (at(6 + i) >>> 24));
  });
}

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
      await writePng(file, { data: picture(`${name}-${i}`, share), height: size, width: size, channels: 3 });
    }
  }
  const params = new InceptionV3({ classes: 1008, pooling: 'tensorflow' }).params();
  await writeSafetensors(
    weights,
    Object.fromEntries([...params].map(([name, p]) => [name, weight(name, p.fileShape)])),
  );
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
