import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runApp } from '@mezzotint/app/testing';
import { switchTo } from '@mezzotint/backend/testing';
import { encodePng } from '@mezzotint/data';
import { ClipModel, clipFromTransformers, clipPixels, clipTokenizer, tokenize } from '@mezzotint/text-encoders';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trainCommand } from '../src/command.js';
import { runTokenizer, tokenizerCommand } from '../src/tokenizer.js';
import { trainRun } from '../src/train-run.js';
import { validationLoss } from '../src/validation.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-clip-'));
const pictures = join(root, 'pictures');
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'wasm', ...argv]);

const colours = { red: [230, 20, 20], green: [20, 220, 20], blue: [20, 20, 230], yellow: [230, 230, 20] } as const;
const places = ['top', 'bottom', 'left', 'right'] as const;

/** Half of an 8 x 8 picture is coloured, the rest is black. */
function picture(colour: readonly number[], place: string, shade: number): Uint8Array {
  return Uint8Array.from({ length: 8 * 8 * 3 }, (_, e) => {
    const [y, x] = [Math.floor(e / 24), Math.floor(e / 3) % 8];
    const inside = { top: y < 4, bottom: y >= 4, left: x < 4, right: x >= 4 }[place]!;
    return inside ? Math.max(0, colour[e % 3]! - shade) : 0;
  });
}

/** Sixteen pictures in three shades, each with two captions. */
beforeAll(() => {
  mkdirSync(pictures);
  const lines: string[] = [];
  for (const [name, colour] of Object.entries(colours)) {
    for (const place of places) {
      for (const shade of [0, 6, 12]) {
        const file = `${name}-${place}-${shade}.png`;
        const data = picture(colour, place, shade);
        writeFileSync(join(pictures, file), encodePng({ data, height: 8, width: 8, channels: 3 }));
        lines.push(
          JSON.stringify({ file_name: file, captions: [`${name} at the ${place}`, `the ${place} is ${name}`] }),
        );
      }
    }
  }
  writeFileSync(join(pictures, 'captions.jsonl'), lines.join('\n'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const tower = { width: 32, mlpWidth: 64, layers: 2, heads: 2, activation: 'quick', epsilon: 1e-5 };

function configFile(name: string, change: object): string {
  const file = join(root, `${name}.json`);
  const config = {
    task: 'clip',
    data: { kind: 'folder', path: pictures, size: 8, threads: 0 },
    tokenizer: { size: 540 },
    network: {
      text: { ...tower, vocabSize: 540, positions: 12, pooledToken: 539, projection: 16 },
      vision: { ...tower, imageSize: 8, patchSize: 4, channels: 3, projection: 16 },
    },
    ...{ steps: 4, batchSize: 16, every: { log: 1, sample: 4, checkpoint: 2 } },
    ...change,
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

const logOf = (run: string) =>
  readFileSync(join(run, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);

test('CLIP learns colours and places: the loss falls and captions find the held-out pictures', async () => {
  const run = join(root, 'learns');
  const change = {
    data: { kind: 'folder', path: pictures, size: 8, threads: 0, heldOut: 0.3 },
    learningRate: { kind: 'constant', peak: 3e-3 },
    ...{ steps: 90, every: { log: 10, sample: 90, checkpoint: 90 } },
  };
  expect(await train('--config', configFile('learns', change), '--run', run)).toMatchObject({ code: 0 });
  const log = logOf(run);
  const last = log.at(-1)!;
  // Of 16 pictures in 12 kinds or so, chance is a loss of ln 16 and a recall of a tenth at 1.
  expect(last.loss).toBeLessThan(0.6 * log[0]!.loss!);
  expect(last.imageRecallAt1).toBeGreaterThan(0.3);
  expect(last.textRecallAt5).toBeGreaterThan(0.7);
  expect(last.validationLoss).toBeGreaterThan(0);
  expect(last.logitScale).toBeLessThanOrEqual(100 + 1e-3);

  // The folder is one of transformers: config, weights and vocabulary of one model.
  await switchTo('wasm');
  const text = (name: string) => readFileSync(join(run, 'model', name), 'utf8');
  const config = clipFromTransformers(JSON.parse(text('config.json')));
  const files = { vocab: JSON.parse(text('vocab.json')) as Record<string, number>, merges: text('merges.txt') };
  const tokenizer = clipTokenizer(files, { maxLength: config.text.positions });
  expect(config.text.pooledToken).toBe(tokenizer.end);
  const source = readSafetensors(join(run, 'model', 'model.safetensors'));
  const model = await new ClipModel(config).load(source);
  source.close();
  const texts = Object.keys(colours).map((name) => `${name} at the top`);
  const { logitsPerImage } = model.forward(
    tokenize(tokenizer, texts).ids,
    clipPixels(
      tf.stack(
        Object.values(colours).map((colour) =>
          tf.sub(tf.div(tf.tensor3d(Array.from(picture(colour, 'top', 3)), [8, 8, 3]), 127.5), 1),
        ),
      ) as tf.Tensor4D,
    ),
  );
  expect(Array.from(tf.argMax(logitsPerImage, 1).dataSync())).toEqual([0, 1, 2, 3]);
});

test('a run of CLIP that stopped and went on ends with the same bytes', async () => {
  const [whole, parts] = [join(root, 'whole'), join(root, 'parts')];
  for (const run of [whole, parts]) {
    expect(await train('--config', configFile('exact', {}), '--run', run)).toMatchObject({ code: 0 });
  }
  rmSync(join(parts, 'checkpoints', 'checkpoint-4'), { recursive: true });
  expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
  for (const file of ['model', 'optimizer', 'average-ema']) {
    const bytes = (run: string) => readFileSync(join(run, 'checkpoints', 'checkpoint-4', `${file}.safetensors`));
    expect(bytes(parts).equals(bytes(whole))).toBe(true);
  }
});

test('other captions give another vocabulary, with which a run does not go on; other pictures with the same captions do', async () => {
  const [own, run] = [join(root, 'own-pictures'), join(root, 'other')];
  cpSync(pictures, own, { recursive: true });
  const data = { kind: 'folder', path: own, size: 8, threads: 0 };
  expect(await train('--config', configFile('other', { data, steps: 2 }), '--run', run)).toMatchObject({ code: 0 });
  const more = (...flags: string[]) => train('--resume', '--steps', '4', '--run', run, ...flags);
  cpSync(join(own, 'red-top-0.png'), join(own, 'red-top-6.png'));
  expect((await more()).err).toMatch(/was trained on other images.*--other-data/);
  expect(await more('--other-data')).toMatchObject({ code: 0 });

  const captions = readFileSync(join(own, 'captions.jsonl'), 'utf8');
  writeFileSync(join(own, 'captions.jsonl'), captions.replaceAll(' at the ', ' beside the '));
  const { err } = await train('--resume', '--steps', '6', '--run', run, '--other-data');
  expect(err).toMatch(/--other-data: the vocabulary was learned of the captions, and these captions give another one/);
  // What it says to do instead works.
  const begin = JSON.parse(`{${/this one learned: (.*)/.exec(err)![1]!}}`) as object;
  const again = configFile('again', { data, steps: 1, ...begin });
  const { code, out } = await train('--config', again, '--run', join(root, 'again'));
  expect(code).toBe(0);
  expect(out).toMatch(/other[\\/]model[\\/]model\.safetensors: \d+ tensors as they are, 0 adapted, 0 new, 0 not used/);
});

test('one picture that is held out is not scored, and it is said; no held-out picture is scored alone', async () => {
  const run = join(root, 'one-held-out');
  const data = { kind: 'folder', path: pictures, size: 8, threads: 0, heldOut: 0.02 };
  const { code, out } = await train('--config', configFile('one-held-out', { data, steps: 1 }), '--run', run);
  expect(code).toBe(0);
  expect(out).toMatch(/Note: 1 picture is held out, which CLIP has nothing to compare with: it is not scored/);
  expect(Object.keys(logOf(run).at(-1)!)).not.toContain('validationLoss');

  for (const [count, sizes] of [
    [1, [1]],
    [64, [64]],
    [65, [65]],
    [129, [64, 65]],
    [200, [64, 64, 64, 8]],
    [300, [64, 64, 64, 64]],
  ] as const) {
    const seen: number[] = [];
    const heldOut = { count, captions: [], batch: (first: number, n: number) => ({ first, shape: [n] }) };
    const validate = ({ shape: [n] }: { shape: readonly number[] }) => {
      seen.push(n!);
      return tf.ones([n!]) as tf.Tensor1D;
    };
    const { signal } = new AbortController();
    const scores = await validationLoss(validate as never, heldOut as never, { seed: 0 }, signal);
    expect(scores.validationLoss).toBeCloseTo(1, 6);
    expect(seen).toEqual(sizes);
  }
});

test('captions that are longer than the network reads are counted', async () => {
  const { text, vision } = JSON.parse(readFileSync(configFile('cut', {}), 'utf8')).network;
  const change = { network: { text: { ...text, positions: 6 }, vision }, steps: 1 };
  const { code, out } = await train('--config', configFile('cut', change), '--run', join(root, 'cut'));
  expect(code).toBe(0);
  expect(out).toMatch(/Note: 78 of 96 captions are longer than 6 tokens and are cut\./);
  const short = await train('--config', configFile('whole-captions', { steps: 1 }), '--run', join(root, 'not-cut'));
  expect(short.out).not.toContain('are cut');
});

test('the temperature is held at 1 / 100', async () => {
  const run = join(root, 'hot');
  // Adam moves a scalar by about its rate an update, whatever the gradient.
  const change = { learningRate: { kind: 'constant', peak: 1.2 }, optimizer: { maxGradientNorm: null }, steps: 3 };
  expect(await train('--config', configFile('hot', change), '--run', run)).toMatchObject({ code: 0 });
  expect(Math.max(...logOf(run).map(({ logitScale }) => logitScale!))).toBeLessThanOrEqual(100 + 1e-3);
});

test('pictures without captions, grey ones and a vocabulary of another size are refused by name', async () => {
  const bare = join(root, 'bare-pictures');
  mkdirSync(bare);
  for (const i of [1, 2]) {
    const data = picture(colours.red, 'top', i);
    writeFileSync(join(bare, `${i}.png`), encodePng({ data, height: 8, width: 8, channels: 3 }));
  }
  const refused = async (name: string, change: object) =>
    (await train('--config', configFile(name, change), '--run', join(root, name))).err;
  const data = { kind: 'folder', path: bare, size: 8, threads: 0, channels: 1 };
  expect(await refused('bare', { data, batchSize: 2 })).toMatch(
    /2 of 2 pictures have no caption \(1\.png, 2\.png\)[\s\S]*expected 3, got 1/,
  );
  const held = { ...data, path: pictures, channels: 3, heldOutPath: bare };
  expect(await refused('bare-held-out', { data: held })).toMatch(
    /2 of 2 held-out pictures have no caption \(1\.png, 2/,
  );
  expect(await refused('batch-of-one', { batchSize: 1 })).toMatch(
    /batchSize: .*expected at least 2 at one time, got 1/,
  );
  expect(await refused('other-size', { tokenizer: { size: 530 } })).toMatch(
    /text.vocabSize is 540, the vocabulary has 530/,
  );
});

test('train tokenizer writes a vocabulary that a run of CLIP takes', async () => {
  const out = join(root, 'tokenizer');
  const argv = ['--data', pictures, '--size', '540', '--max-length', '6', '--out', out];
  const done = await runApp(tokenizerCommand(), runTokenizer, argv);
  expect(done.out).toMatch(
    /540 tokens of 96 captions, which have 7.0 tokens each and 8 at most\nNote: 78 captions are longer than 6 and are cut/,
  );
  const run = join(root, 'shared');
  const change = { tokenizer: { from: out }, steps: 1 };
  expect(await train('--config', configFile('shared', change), '--run', run)).toMatchObject({ code: 0 });
  const merges = readFileSync(join(out, 'merges.txt'), 'utf8');
  expect(readFileSync(join(run, 'model', 'merges.txt'), 'utf8')).toBe(merges);
  // With another vocabulary at the same place, tokens would stand for other texts.
  const lines = merges.trimEnd().split('\n');
  writeFileSync(join(out, 'merges.txt'), `${[...lines.slice(0, -2), lines.at(-1), lines.at(-2)].join('\n')}\n`);
  const resumed = await train('--resume', '--steps', '2', '--run', run);
  expect(resumed.err).toMatch(/was trained with another tokenizer .*tokenizer than there is now/);
});
