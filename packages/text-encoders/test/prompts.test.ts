import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import {
  alignChunks,
  ClipTextModel,
  ClipTextModelWithProjection,
  chunkPrompt,
  clipTextFromTransformers,
  encodeSdPrompts,
  encodeSdxlPrompts,
  parseWeights,
} from '../src/index.js';
import { rowsAt } from '../src/prompts/encode.js';
import { readJson, readTensors, relativeError } from './support/golden.js';
import { tinyClipTokenizer } from './support/tokenizers.js';

const engines = await testEngines();
const tokenizer = tinyClipTokenizer();
const filledWithZeros = tinyClipTokenizer({ pad: '!' });

describe('weights in a prompt', () => {
  // The web UI's own examples; products of 1.1 in float64, to 12 digits because products may be taken in another order.
  test.each<[string, [string, number][]]>([
    ['normal text', [['normal text', 1]]],
    [
      'an (important) word',
      [
        ['an ', 1],
        ['important', 1.1],
        [' word', 1],
      ],
    ],
    ['(unbalanced', [['unbalanced', 1.1]]],
    ['\\(literal\\]', [['(literal]', 1]]],
    ['(unnecessary)(parens)', [['unnecessaryparens', 1.1]]],
    [
      'a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).',
      [
        ['a ', 1],
        ['house', 1.573],
        [' ', 1.1],
        ['on', 1],
        [' a ', 1.1],
        ['hill', 0.55],
        [', sun, ', 1.1],
        ['sky', 1.4641],
        ['.', 1.1],
      ],
    ],
    ['[b]', [['b', 1 / 1.1]]],
    ['(word: 1.2 )', [['word', 1.2]]],
    [
      '(a:.5)(b:-1)',
      [
        ['a', 0.5],
        ['b', -1],
      ],
    ],
    ['ratio 16:9, at 5:30)', [['ratio 16:9, at 5:30)', 1]]],
    [
      '(a [b) c]',
      [
        ['a ', 1.1],
        ['b', 1],
        [' c', 1 / 1.1],
      ],
    ],
    ['c:\\dir \\\\ end\\', [['c:\\dir \\ end\\', 1]]],
    [
      '👍🏽 (日本:1.5)',
      [
        ['👍🏽 ', 1],
        ['日本', 1.5],
      ],
    ],
    [`${'('.repeat(66)}a`, [['((a', 1.1 ** 64]]],
    ['', []],
    ['()', []],
  ])('%j', (prompt, expected) => {
    const parts = parseWeights(prompt).map(({ text, weight }) => [text, Number(weight.toPrecision(12))]);
    expect(parts).toEqual(expected.map(([text, weight]) => [text, Number(weight.toPrecision(12))]));
  });

  test('a hostile prompt takes time in proportion to its length', () => {
    const start = performance.now();
    for (const text of ['(', '[', '\\', ':', ':1', '(a:', ')', '((a)']) parseWeights(text.repeat(20_000));
    // A second on a slow machine; what is quadratic needs minutes.
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

describe('chunks', () => {
  test('75 tokens of text each, framed and padded, weights beside them', () => {
    const words = `${'a '.repeat(80)}(cat:2)`;
    const [first, second, ...rest] = chunkPrompt(tokenizer, words);
    expect(rest).toEqual([]);
    const a = tokenizer.encode('a')[0]!;
    const cat = tokenizer.encode('cat')[0]!;
    expect(first!.ids).toEqual([tokenizer.start, ...new Array(75).fill(a), tokenizer.end]);
    const tail = [tokenizer.start, a, a, a, a, a, cat, tokenizer.end, ...new Array(69).fill(tokenizer.pad)];
    expect(second!.ids).toEqual(tail);
    expect(second!.weights).toEqual([...new Array(6).fill(1), 2, ...new Array(70).fill(1)]);
  });

  test('exactly 75 tokens are one chunk, 76 are two, none is one', () => {
    const counts = [75, 76, 0].map((n) => chunkPrompt(tokenizer, 'a '.repeat(n)).length);
    expect(counts).toEqual([1, 2, 1]);
  });

  test('BREAK begins a new chunk, unless the prompt is plain', () => {
    const parts = chunkPrompt(tokenizer, 'a BREAK (cat BREAK a:1.5)');
    expect(parts.map(({ ids }) => ids[1])).toEqual(['a', 'cat', 'a'].map((word) => tokenizer.encode(word)[0]));
    expect(parts.map(({ weights }) => weights[1])).toEqual([1, 1.5, 1.5]);
    const [plain, ...rest] = chunkPrompt(tokenizer, 'a BREAK (cat)', { syntax: 'plain' });
    expect(rest).toEqual([]);
    expect(plain!.ids).toContain(tokenizer.encode('(')[0]);
    expect(plain!.weights.every((weight) => weight === 1)).toBe(true);
  });

  test('what does not fit is cut at maxChunks; prompts are filled up with empty chunks', () => {
    const long = 'a '.repeat(200);
    expect(chunkPrompt(tokenizer, long, { maxChunks: 2 })).toEqual(chunkPrompt(tokenizer, long).slice(0, 2));
    expect(() => chunkPrompt(tokenizer, long, { maxChunks: 0 })).toThrow(InvalidArgumentError);
    const both = alignChunks(tokenizer, [chunkPrompt(tokenizer, long), chunkPrompt(tokenizer, 'cat')]);
    expect(both.map(({ length }) => length)).toEqual([3, 3]);
    expect(both[1]!.slice(1)).toEqual([...chunkPrompt(tokenizer, ''), ...chunkPrompt(tokenizer, '')]);
  });
});

async function loaded() {
  const first = await new ClipTextModel(clipTextFromTransformers(readJson('prompts/first.json'))).load(
    readTensors('prompts/first.safetensors'),
  );
  const second = await new ClipTextModelWithProjection(clipTextFromTransformers(readJson('prompts/second.json'))).load(
    readTensors('prompts/second.safetensors'),
  );
  return {
    clipL: { encoder: first, tokenizer },
    bigG: { encoder: second, tokenizer: filledWithZeros },
    dispose: () => {
      first.dispose();
      second.dispose();
    },
  };
}

describe.each(engines)('on %s, prompts', (engine) => {
  beforeEach(() => switchTo(engine));
  const expected = readTensors('prompts/expected.safetensors');
  const { prompts, negative, weighted } =
    readJson<Record<'prompts' | 'negative' | 'weighted', string[]>>('prompts/origin.json');
  // As diffusers reads prompts: brackets are text, and what is too long is cut.
  const asDiffusers = { syntax: 'plain', maxChunks: 1 } as const;

  // float32 on both sides: rounding of three layers gives relative errors near 1e-6; 1e-4 is what the project promises.
  function check(name: string, got: tf.Tensor): void {
    expect(got.shape).toEqual(expected[name]!.shape);
    expect(relativeError(got.dataSync(), expected[name]!.data)).toBeLessThan(1e-4);
  }

  test('for Stable Diffusion 1 and 2 are diffusers’, with and without clip skip', async () => {
    const { clipL, dispose } = await loaded();
    const before = tf.memory().numTensors;
    const states = encodeSdPrompts(clipL, [...negative, ...prompts], asDiffusers);
    expect(tf.memory().numTensors).toBe(before + 1);
    check('sd.skip0', states);
    // diffusers skips layers of the prompt only.
    const skipped = encodeSdPrompts(clipL, prompts, { ...asDiffusers, skip: 1 });
    check('sd.skip1', skipped);
    tf.dispose([states, skipped]);
    dispose();
  });

  test('equal chunks are read once', async () => {
    const { clipL, dispose } = await loaded();
    const prompts = ['two dogs', 'a cat', 'two dogs', ''];
    const read = vi.spyOn(clipL.encoder, 'forward');
    const all = encodeSdPrompts(clipL, [...prompts, '']);
    expect(read.mock.calls.map(([ids]) => ids.shape[0])).toEqual([3]);
    const rows = tf.unstack(all).map((row) => row.dataSync());
    for (const [i, prompt] of prompts.entries()) {
      // The same sums in another batch.
      const alone = encodeSdPrompts(clipL, [prompt]).dataSync();
      expect(relativeError(rows[i]!, alone), prompt).toBeLessThan(1e-5);
    }
    expect(rows[2]).toEqual(rows[0]);
    dispose();
  });

  test('for Stable Diffusion XL and its refiner are diffusers’; no negative prompt is zeros', async () => {
    const { dispose, ...both } = await loaded();
    const before = tf.memory().numTensors;
    const xl = encodeSdxlPrompts(both, [...negative, ...prompts], asDiffusers);
    expect(tf.memory().numTensors).toBe(before + 2);
    check('sdxl.context', xl.context);
    check('sdxl.pooled', xl.pooled);
    const none = encodeSdxlPrompts(both, [null, prompts[0]!], asDiffusers);
    check('sdxl-none.context', none.context);
    check('sdxl-none.pooled', none.pooled);
    const refiner = encodeSdxlPrompts({ bigG: both.bigG }, [...negative, ...prompts], asDiffusers);
    check('refiner.context', refiner.context);
    check('refiner.pooled', refiner.pooled);
    for (const output of [xl, none, refiner]) tf.dispose({ ...output });
    expect(tf.memory().numTensors).toBe(before);
    dispose();
  });

  test('long and weighted are what their definition says', async () => {
    const { clipL, dispose } = await loaded();
    const restored = encodeSdPrompts(clipL, weighted);
    // The web UI (modules/sd_hijack_clip.py, process_tokens) restores the mean of each chunk by itself.
    const width = restored.shape[2];
    const cut = alignChunks(
      tokenizer,
      weighted.map((prompt) => chunkPrompt(tokenizer, prompt)),
    );
    const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b) / values.length;
    const definition = cut.flatMap((chunks, n) =>
      chunks.flatMap(({ weights }, c) => {
        const size = weights.length * width;
        const multiplied = expected[`weighted.plain${n}`]!.data.slice(c * size, (c + 1) * size);
        const states = multiplied.map((value, i) => value / weights[Math.floor(i / width)]!);
        const scale = mean(states) / mean(multiplied);
        return Array.from(multiplied, (value) => value * scale);
      }),
    );
    expect(restored.shape).toEqual([2, 3 * 77, width]);
    expect(relativeError(restored.dataSync(), definition)).toBeLessThan(1e-4);
    const plain = encodeSdPrompts(clipL, weighted, { emphasis: 'plain' });
    const rows = tf.split(plain, 2);
    check('weighted.plain0', rows[0]!);
    check('weighted.plain1', rows[1]!);
    tf.dispose([restored, plain, ...rows]);
    dispose();
  });

  test('long prompts of XL have chunks side by side in both encoders, and the first one’s pooled text', async () => {
    const { dispose, ...both } = await loaded();
    const long = encodeSdxlPrompts(both, ['film grain', prompts[1]!], { syntax: 'plain' });
    expect(long.context.shape).toEqual([2, 154, 16]);
    const short = encodeSdxlPrompts(both, [prompts[1]!], asDiffusers);
    // The same numbers in a batch of another size: only the order of float32 sums can differ.
    const start = tf.slice(long.context, [1, 0, 0], [1, 77, 16]);
    expect(relativeError(start.dataSync(), short.context.dataSync())).toBeLessThan(1e-5);
    const pooled = tf.slice(long.pooled, [1, 0], [1, 6]);
    expect(relativeError(pooled.dataSync(), short.pooled.dataSync())).toBeLessThan(1e-5);
    tf.dispose([long.context, long.pooled, short.context, short.pooled, start, pooled]);
    dispose();
  });
});

test('no prompts are refused', async () => {
  await switchTo('cpu');
  const { dispose, ...both } = await loaded();
  expect(() => encodeSdPrompts(both.clipL, [])).toThrow(/prompts: expected at least one/);
  expect(() => encodeSdxlPrompts(both, [])).toThrow(InvalidArgumentError);
  expect(() => encodeSdPrompts(both.clipL, ['a'], { skip: 4 })).toThrow(/skip: expected a whole number in 0\.\.3/);
  dispose();
});

describe.each(engines)('prompts that stand in a batch more than once, on %s', (engine) => {
  beforeEach(() => switchTo(engine));

  test.each([
    [1, [0, 0, 0], [1 + 2 + 3]],
    [2, [1, 0, 1], [2, 1 + 3]],
  ])('are read once, and have the gradients of all their places (%i distinct)', (count, places, expected) => {
    const weights = tf.tensor2d([1, 2, 3], [3, 1]);
    const gradient = tf.grad((x) => tf.sum(tf.mul(rowsAt(x, places), weights)))(tf.ones([count, 1]));
    expect(Array.from(gradient.dataSync())).toEqual(expected); // small integers: exact
  });
});
