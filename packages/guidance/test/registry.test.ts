import { readFileSync } from 'node:fs';
import { useBackend } from '@mezzotint/backend';
import { type Denoiser, InvalidArgumentError, Module } from '@mezzotint/core';
import { epsilon, flow } from '@mezzotint/schedulers';

import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import * as guidance from '../src/index.js';

beforeAll(async () => void (await useBackend({ engine: 'cpu' })));

/** |a - b| / |b|. */
const relativeError = (a: readonly number[], b: readonly number[]) =>
  Math.hypot(...a.map((v, i) => v - b[i]!)) / Math.hypot(...b);

/** Three levels of a variance-preserving schedule. */
const schedule = {
  alpha: Float64Array.of(0.1, 0.6, 0.8, 1),
  sigma: Float64Array.of(Math.sqrt(0.99), 0.8, 0.6, 0),
};
const at = { alpha: 0.6, sigma: 0.8 };
const shape: [number, number, number, number] = [2, 4, 4, 3];
const x = () => tf.randomNormal<tf.Rank.R4>(shape, 0, 1, 'float32', 7);
/** What the network says depends on its condition, and not linearly on x. */
const plain: Denoiser<number> = (x, _, cond) => tf.tidy(() => tf.mul(tf.sin(tf.add(tf.mul(x, cond + 1), cond)), 3));
const context: guidance.GuidanceContext<number> = {
  ...{ scale: 4, unconditional: 0, prediction: epsilon, schedule, network: undefined },
};
const by = (name: string, options: guidance.GuidanceOptions = {}, more: object = {}) =>
  guidance.createGuidance<number>(name, options, { ...context, ...more });
const estimate = (denoiser: Denoiser<number>) => {
  const noisy = x();
  const out = denoiser(noisy, at, 1);
  noisy.dispose();
  return [...out.dataSync()];
};

test('every guidance of the package has a name, or a reason why not', () => {
  const named = new Set([...guidance.guidances.map(({ method }) => method), ...Object.keys(guidance.composedInCode)]);
  for (const method of named) expect(guidance, method).toHaveProperty(method, expect.any(Function));
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const rows = [...readme.matchAll(/^\| `(\w+)`/gm)].map(([, method]) => method!);
  expect(rows.length).toBeGreaterThan(20);
  expect(rows.filter((method) => !named.has(method))).toEqual([]);
  // Functions that are a guidance: a denoiser comes in, a denoiser goes out.
  const taking = Object.keys(guidance).filter((key) => named.has(key));
  expect(taking.length).toBe(named.size);
});

test('defaults are valid, and those of the references', () => {
  for (const record of guidance.guidances) {
    const options = guidance.wholeGuidanceOptions(record, record.name === 'slg' ? { layers: 'blocks.0' } : {});
    expect(guidance.guidanceOptionProblems(record, options), record.name).toEqual([]);
  }
  const defaults = (name: string) => guidance.wholeGuidanceOptions(guidance.guidanceNamed(name), {});
  expect(defaults('apg')).toMatchObject({ momentum: -0.5, norm: 15, parallel: 0 }); // Sadat et al. 2024, appendix, SDXL
  expect(defaults('fdg')).toMatchObject({ scales: [10, 5] }); // Sadat et al. 2025, SDXL
  expect(defaults('pag')).toMatchObject({ scale: 3 }); // Ahn et al. 2024, section 5
});

const unconditional = 0;
const prediction = epsilon;
test.each<[string, guidance.GuidanceOptions, Denoiser<number>]>([
  ['cfg', {}, guidance.classifierFree(plain, { scale: 4, unconditional })],
  ['cfg', { from: 'conditional' }, guidance.classifierFree(plain, { scale: 4, unconditional, from: 'conditional' })],
  ['cfg-zero-star', {}, guidance.zeroStar(plain, { scale: 4, unconditional, prediction })],
  ['cfg-plus-plus', {}, guidance.plusPlus(plain, { lambda: 0.6, table: schedule, unconditional })],
  [
    'apg',
    {},
    guidance.adaptiveProjected({ scale: 4, momentum: -0.5, norm: 15, prediction }).guide(plain, { unconditional }),
  ],
  ['apg', { on: 'x0', norm: 1 }, guidance.adaptiveProjected({ scale: 4, norm: 1 }).guide(plain, { unconditional })],
  [
    'apg-mix',
    { plainSteps: 1 },
    guidance.adaptiveProjected({ scale: 10, norm: 10, prediction }).guide(plain, { unconditional }),
  ],
  ['apg-mix', {}, guidance.classifierFree(plain, { scale: 4, unconditional })],
  ['tcfg', {}, guidance.tangential(plain, { scale: 4, unconditional, prediction })],
  ['fdg', { scales: [3, 2] }, guidance.frequencyDecoupled(plain, { scales: [3, 2], unconditional, prediction })],
  ['mambo-g', { damping: 0.5 }, guidance.magnitudeAware(plain, { scale: 4, damping: 0.5, unconditional, prediction })],
  ['dynamic-thresholding', { quantile: 0.5 }, guidance.dynamicThresholding(plain, { quantile: 0.5 })],
])('%s %o is the function called by hand', (name, options, byHand) => {
  const made = by(name, options);
  expect(relativeError(estimate(made.guide(plain)), estimate(byHand))).toBeLessThan(1e-5);
  expect(relativeError(estimate(made.guide(plain)), estimate(plain))).toBeGreaterThan(1e-3);
  made.memory?.dispose();
});

test('perp-neg guides away from the negative condition, beside one of nothing', () => {
  const byHand = guidance.perpNeg(plain, { scale: 4, unconditional: 0, negatives: [{ cond: 2, weight: 0.7 }] });
  const made = by('perp-neg', { weight: 0.7 }, { unconditional: 2, empty: 0 });
  expect(relativeError(estimate(made.guide(plain)), estimate(byHand))).toBeLessThan(1e-6);
  expect(() => by('perp-neg')).toThrow(/needs a negative prompt/);
  expect(() => by('perp-neg', {}, { empty: 0, rescale: 0.5 })).toThrow(/is not rescaled/);
});

test('rescale and channels hold for every combination', () => {
  const options = { scale: 4, unconditional, rescale: 0.7, channels: 2, prediction: flow };
  const pairs: [string, Denoiser<number>][] = [
    ['cfg', guidance.classifierFree(plain, options)],
    ['cfg-zero-star', guidance.zeroStar(plain, options)],
    ['apg', guidance.adaptiveProjected({ ...options, norm: 15 }).guide(plain, options)],
  ];
  for (const [name, byHand] of pairs) {
    const more = { rescale: 0.7, channels: 2, prediction: flow };
    const made = by(name, {}, more);
    expect(relativeError(estimate(made.guide(plain)), estimate(byHand)), name).toBeLessThan(1e-5);
    const whole = by(name, {}, { ...more, channels: undefined });
    expect(relativeError(estimate(whole.guide(plain)), estimate(byHand)), name).toBeGreaterThan(1e-3);
    for (const { memory } of [made, whole]) memory?.dispose();
  }
});

test('start and stop are fractions of the steps; outside, the model is as it is', () => {
  const level = (i: number) => ({ alpha: schedule.alpha[i]!, sigma: schedule.sigma[i]! });
  const made = by('cfg', { start: 0.34, stop: 0.67 }); // of three steps the second: floor(1.02) to floor(2.01) - 1
  const guided = made.guide(plain);
  const noisy = x();
  const differs = [0, 1, 2].map((i) => {
    const [a, b] = [guided(noisy, level(i), 1), plain(noisy, level(i), 1)];
    return relativeError([...a.dataSync()], [...b.dataSync()]) > 1e-3;
  });
  expect(differs).toEqual([false, true, false]);
  expect(estimate(by('cfg', { start: 0.4, stop: 0.5 }).guide(plain))).toEqual(estimate(plain)); // holds no step
});

test('what is wrong: every option, at once', () => {
  const wrong = () => by('apg', { momentun: 1, norm: -1, on: 'eps', start: 0.5, stop: 0.2 } as never);
  expect(wrong).toThrow(InvalidArgumentError as never);
  expect(wrong).toThrow(
    /no option 'momentun'.*\n.*norm: expected.*\n.*on: expected prediction or x0.*\n.*less than stop/,
  );
  expect(() => by('slg')).toThrow(/slg needs the option layers: blocks/);
  expect(() => by('fdg', { scales: [] })).toThrow(/scales: expected 1 to 16 numbers/);
  expect(() => by('ppg')).toThrow(/expected one of cfg, .*, got 'ppg'/);
  expect(() => by('pag')).toThrow(/does not show its network/);
});

test('the middle of a network is found by the paths of checkpoints, and asked for where it is not', () => {
  class Node extends Module {}
  const tree = (paths: readonly string[]) => ({ modules: () => new Map(paths.map((path) => [path, new Node()])) });
  const middle = (...paths: string[]) => [...guidance.middleSelfAttention(tree(paths) as never).keys()];
  const sd = 'mid_block.attentions.0.transformer_blocks.0';
  expect(middle('down_blocks.0.attentions.0', `${sd}.attn1`, `${sd}.attn2`)).toEqual([`${sd}.attn1`]);
  expect(middle('middle_block.0', 'middle_block.1', 'middle_block.2')).toEqual(['middle_block.1']);
  expect(middle('blocks.0.attn', 'blocks.1.attn', 'blocks.2.attn', 'blocks.2.mlp')).toEqual(['blocks.1.attn']);
  expect(() => middle('layers.0')).toThrow(/name self-attention layers by path/);
});
