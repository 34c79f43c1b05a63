import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import { type HostTensor, TorchGenerator } from '@mezzotint/core';
import { relativeError } from '@mezzotint/testing';
import { NoisyClassifier, noisyClassifier } from '@mezzotint/unet';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPipeline } from '../src/node/index.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const { shapes } = JSON.parse(readFileSync(fixture('adm-cascade.json'), 'utf8')) as {
  shapes: { base: Shapes; upsampler: Shapes };
};
const root = mkdtempSync(join(tmpdir(), 'mezzotint-adm-'));
const [base, upsampler, classifier] = ['base', 'upsampler', 'classifier'].map((name) =>
  join(root, `${name}.safetensors`),
) as [string, string, string];
const network = { imageSize: 8, heads: 4 };

/** The weights of tooling/golden/scripts/adm_cascade.py: parameter i from the stream with the seed `first` + i. */
function drawn(shapes: Shapes, first: number): Record<string, HostTensor> {
  const isNorm = /(?:in_layers\.0|out_layers\.0|norm|out\.0)\.weight$/;
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const fanIn = size / shape[0]!;
      const data = new TorchGenerator(first + i)
        .randn(size)
        .map((n) => (shape.length > 1 ? (0.7 * n) / Math.sqrt(fanIn) : isNorm.test(name) ? 1 + 0.1 * n : 0.1 * n));
      return [name, { shape, data }];
    }),
  );
}

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  await writeSafetensors(base, drawn(shapes.base, 1000));
  await writeSafetensors(upsampler, drawn(shapes.upsampler, 2000));
  const config = noisyClassifier.sized!('small', { imageSize: 8, channels: 3, classes: 3 });
  const guide = new NoisyClassifier({ ...config, groups: 32, resBlocks: 2, heads: { count: 1 } });
  const own = Object.fromEntries([...guide.params()].map(([name, param]) => [name, [...param.fileShape]]));
  await writeSafetensors(classifier, drawn(own, 3000));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('a cascade makes the pictures of guided-diffusion', async () => {
  const golden = readSafetensors(fixture('adm-cascade.safetensors'));
  const pipeline = await openPipeline(base, { network, upsampler });
  expect(pipeline.description).toBe('ADM for 8 x 8 pixels, 3 classes, enlarged to 16');
  const before = tf.memory().numTensors;
  const ends: Record<string, Float32Array> = {};
  let side = 0;
  for await (const step of pipeline.steps({ labels: [2], seed: 7, steps: 3 })) {
    ends[step.stage] = step.x.dataSync<'float32'>().slice();
    side = step.images?.[0]?.height ?? side;
  }
  // float32 on both sides and three steps of two networks with clipping.
  expect(relativeError(ends.base!, golden.read('small').data as Float32Array)).toBeLessThan(1e-4);
  expect(relativeError(ends.upsampler!, golden.read('large').data as Float32Array)).toBeLessThan(1e-4);
  expect(side).toBe(16);
  golden.close();
  pipeline.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

test('a classifier guides towards its class; at scale 0 it changes nothing', async () => {
  const plain = await openPipeline(base, { network });
  const guided = await openPipeline(base, { network, classifier });
  const request = { labels: [1], seed: 3, steps: 4 };
  const end = async (pipeline: typeof plain, more: object = {}) => {
    let x: Float32Array | undefined;
    for await (const step of pipeline.steps({ ...request, ...more })) x = step.x.dataSync<'float32'>().slice();
    return x!;
  };
  const alone = await end(plain);
  expect(await end(guided, { classifierScale: 0 })).toEqual(alone);
  expect(relativeError(await end(guided, { classifierScale: 5 }), alone)).toBeGreaterThan(1e-3);
  await expect(plain.check({ ...request, classifierScale: 1 })).rejects.toThrow(
    /classifierScale: ADM does not take it/,
  );
  for (const pipeline of [plain, guided]) pipeline.dispose();
});

test.each([
  ['ancestral steps move by their own variance', {}, 'ddpm'],
  ['DDIM by sigma^2 / alpha, behind the clipping', { solver: 'ddim' }, 'ddim'],
] as const)('a classifier guides as in guided-diffusion: %s', async (_, solver, name) => {
  const about = JSON.parse(readFileSync(fixture('adm-classifier.json'), 'utf8')) as {
    shapes: { base: Shapes; classifier: Shapes };
    scale: number;
    steps: number;
    seed: number;
    label: number;
  };
  const [model, judge] = ['guided', 'judge'].map((file) => join(root, `${name}-${file}.safetensors`)) as [
    string,
    string,
  ];
  await writeSafetensors(model, drawn(about.shapes.base, 1000));
  await writeSafetensors(judge, drawn(about.shapes.classifier, 4000));
  const golden = readSafetensors(fixture('adm-classifier.safetensors'));
  const pipeline = await openPipeline(model, { network, classifier: judge });
  const { scale, steps, seed, label } = about;
  const end = async (classifierScale: number) => {
    let x: Float32Array | undefined;
    for await (const step of pipeline.steps({ labels: [label], seed, steps, classifierScale, ...solver })) {
      x = step.x.dataSync<'float32'>().slice();
    }
    return x!;
  };
  const expected = golden.read(name).data as Float32Array;
  const [guided, plain] = [await end(scale), await end(0)];
  expect(relativeError(guided, expected)).toBeLessThan(1e-4);
  expect(relativeError(plain, expected)).toBeGreaterThan(1e-2);
  const before = tf.memory().numTensors;
  await end(scale);
  expect(tf.memory().numTensors).toBe(before);
  golden.close();
  pipeline.dispose();
});

test('what does not fit together is refused before weights are read', async () => {
  await expect(openPipeline(base, { network, upsampler: base })).rejects.toThrow(/is no upsampler/);
  await expect(openPipeline(base, { network: { headz: 4 } })).rejects.toThrow(/headz: unknown setting.*heads/);
  await expect(openPipeline(base, { network: { heads: 3 } })).rejects.toThrow(/3 heads do not divide/);
});

test('an upsampler alone enlarges a picture of any size, by labels where it has classes', async () => {
  const pipeline = await openPipeline(upsampler);
  const image = { data: new Uint8Array(6 * 8 * 3).fill(120), height: 6, width: 8, channels: 3 as const };
  const { images } = await pipeline.generate({ image, steps: 2, ...(pipeline.classes.length > 0 && { labels: [0] }) });
  expect([images[0]!.height, images[0]!.width]).toEqual([24, 32]);
  expect(pipeline.upscaling).toMatchObject({ factor: 4 });
  pipeline.dispose();
});
