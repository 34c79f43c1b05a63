import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DiffusionConfig, saveModel } from '@mezzotint/app';
import { switchTo } from '@mezzotint/backend/testing';
import { encodePng, readImage } from '@mezzotint/data';
import { openPipeline } from '@mezzotint/pipelines/node';
import { ADMUNet, type EncoderConfig, NoisyClassifier, SuperResolutionUNet } from '@mezzotint/unet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CascadeFlags, runCascade, type Score } from '../src/cascade.js';

const root = mkdtempSync(join(tmpdir(), 'study-cascade-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const classes = ['cats', 'dogs'];
const encoder: Omit<EncoderConfig, 'imageSize'> = {
  ...{ inChannels: 3, modelChannels: 4, channelMult: [1], resBlocks: 1, attentionResolutions: [], heads: { count: 1 } },
  ...{ attentionOrder: 'new', timeConditioning: 'scale-shift', resampling: 'residual', groups: 2, dropout: 0 },
};
const unet = { ...encoder, outChannels: 3, headsUp: { count: 1 }, classes: 2, nullLabel: true } as const;
const process = { kind: 'discrete', betas: 'cosine', steps: 1000, prediction: 'v', learnedVariance: false } as const;
const common = { format: 'mezzotint/diffusion@1', classes, process } as const;
const sampling = { solver: 'ddim', steps: 1, guidance: 1 };

/** A base of 4 x 4 pixels, a stage to 16 x 16, a classifier; all with random weights. */
beforeAll(async () => {
  await switchTo('wasm');
  const save = (name: string, config: object, model: Parameters<typeof saveModel>[2]) =>
    saveModel(join(root, name), config as DiffusionConfig, model, { half: false });
  const base = { ...unet, imageSize: 4 };
  await save(
    'base',
    { ...common, architecture: 'ADMUNet', network: base, image: { size: 4, channels: 3 }, sampling },
    new ADMUNet(base).init(1),
  );
  const network = { ...unet, imageSize: 16, lowResTime: true };
  const superResolution = { factor: 4, downsampling: 'bicubic', augmentation: 'gaussian', most: 500, noiseLevel: 0 };
  await save(
    'upsampler',
    {
      ...common,
      architecture: 'SuperResolutionUNet',
      network,
      image: { size: 16, channels: 3 },
      sampling,
      superResolution,
    },
    new SuperResolutionUNet(network).init(2),
  );
  const judge = { ...encoder, imageSize: 16, pool: 'adaptive', classes: 2 } as const;
  await save(
    'judge',
    {
      ...{ format: 'mezzotint/classifier@1', architecture: 'NoisyClassifier', network: judge, classes, process: null },
      image: { size: 16, channels: 3 },
    },
    new NoisyClassifier(judge).init(3),
  );
  for (const [part, count] of [
    ['train', 12],
    ['held-out', 2],
  ] as const) {
    for (const [label, name] of classes.entries()) {
      mkdirSync(join(root, part, name), { recursive: true });
      for (let i = 0; i < count; i++) {
        const data = Uint8Array.from({ length: 16 * 16 * 3 }, (_, e) => (e * (5 + i + label) + 31 * count) % 256);
        writeFileSync(join(root, part, name, `${i}.png`), encodePng({ data, height: 16, width: 16, channels: 3 }));
      }
    }
  }
});

const marks = ['<!-- study cascade: written by `pnpm study cascade` -->', '<!-- end of study cascade -->'];

test('scores a cascade against its base with bicubic, writes its section, and goes on without doing it again', async () => {
  const docs = join(root, 'docs');
  mkdirSync(docs);
  writeFileSync(join(docs, 'cascades.md'), `before\n${marks.join('\nold\n')}\nafter\n`);
  const [base, upsampler, features] = ['base', 'upsampler', 'judge'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  const flags: CascadeFlags = {
    ...{ out: join(root, 'out'), base, upsampler, plain: upsampler, features, docs },
    ...{ data: join(root, 'train'), heldOut: join(root, 'held-out') },
    ...{ count: 10, reference: 20, levels: [0, 200], steps: 1, seed: 3 },
  };
  const said: string[] = [];
  let last: { scores: Record<string, Score> } | undefined;
  const context = {
    ...{ say: (line: string) => said.push(line), signal: new AbortController().signal },
    result: (value: unknown) => {
      last = value as typeof last;
    },
  } as unknown as Parameters<typeof runCascade>[1];
  await runCascade(flags, context);
  const { scores } = last!;
  expect(Object.keys(scores)).toHaveLength(3 + 2 * (2 + 1));
  // The weights of both stages are the same, so is what they make of clean pictures; noise makes it another.
  expect(scores['base, upsampler without augmentation']).toEqual(scores['base, upsampler at level 0']);
  expect(scores['base, upsampler at level 200']).not.toEqual(scores['base, upsampler at level 0']);
  // The base's pictures are those of the base alone.
  const pipeline = await openPipeline(base);
  const labels = [0, 0, 1, 1];
  const { images } = await pipeline.generate({ labels, seed: 3 });
  pipeline.dispose();
  const strip = await readImage(join(root, 'out', 'base.png'), { channels: 3 });
  expect([...strip.data]).toEqual(images.flatMap(({ data }) => [...data]));
  const page = readFileSync(join(docs, 'cascades.md'), 'utf8');
  expect(page).toMatch(/^before\n/);
  expect(page).toMatch(/after\n$/);
  expect(page).not.toContain('old');
  expect(page).toContain('| the base | bicubic |  |');
  const grid = await readImage(join(docs, 'cascade-pictures.png'), { channels: 3 });
  expect(grid.height).toBeGreaterThan(8 * 16);
  // Again: what is there is taken, and only what is missing is made.
  const place = join(root, 'out', 'cascade.json');
  const record = JSON.parse(readFileSync(place, 'utf8'));
  const invented = { fid: 1234, kid: 0, kidError: 0 };
  delete record.scores['real, bicubic'];
  writeFileSync(place, JSON.stringify({ ...record, scores: { ...record.scores, 'base, bicubic': invented } }));
  await runCascade(flags, context);
  expect(last!.scores).toEqual({ ...scores, 'base, bicubic': invented });
  // With other settings it is another study.
  await expect(runCascade({ ...flags, seed: 4 }, context)).rejects.toThrow(/seed: was 3, is now 4/);
});
