import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs';
import { type AttentionCall, withHooks } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { attention } from '../src/index.js';

const tensor = (tokens: number, phase: number) =>
  tf.tensor4d(
    Float32Array.from({ length: 2 * 2 * tokens * 3 }, (_, i) => Math.sin(i + phase)),
    [2, 2, tokens, 3],
  );

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('a hook sees who asks and with what, and may answer or attend with other inputs', () => {
    const [q, k, v] = [tensor(4, 0), tensor(4, 1), tensor(4, 2)];
    const layer = {};
    const plain = attention(q, k, v).dataSync();
    const calls: AttentionCall[] = [];
    const watched = withHooks(
      {
        attention: (call) => {
          calls.push(call);
          return call.attend();
        },
      },
      () => attention(q, k, v, { by: layer }),
    );
    expect(watched.dataSync()).toEqual(plain);
    expect(calls.map(({ by, scale, mask }) => ({ by, scale, mask }))).toEqual([
      { by: layer, scale: 1 / Math.sqrt(3), mask: undefined },
    ]);
    expect(calls[0]!.q).toBe(q);

    const answered = withHooks({ attention: ({ v }) => tf.clone(v) }, () => attention(q, k, v));
    expect(answered.dataSync()).toEqual(v.dataSync());

    // Scores of 0: every token sees all alike, so each answer is the mean of v.
    const flat = withHooks({ attention: (call) => call.attend({ scale: 0 }) }, () => attention(q, k, v));
    const mean = tf.tile(tf.mean(v, 2, true), [1, 1, 4, 1]).dataSync();
    for (const [i, value] of flat.dataSync().entries()) expect(Math.abs(value - mean[i]!)).toBeLessThan(1e-6);
  });

  test('the gradient goes through an attention that a hook changed', () => {
    const [q, k, v] = [tensor(4, 0), tensor(4, 1), tensor(4, 2)];
    const ofV = withHooks({ attention: (call) => call.attend({ q: tf.zerosLike(call.q) }) }, () =>
      tf.grad((x) => tf.sum(attention(q, k, x as tf.Tensor4D)))(v),
    );
    // Equal weights 1/4 from 4 queries: each element of v counts once.
    for (const value of ofV.dataSync()) expect(value).toBeCloseTo(1, 6);
  });

  test('a hook cannot attend with shapes that do not fit', () => {
    const [q, k, v] = [tensor(4, 0), tensor(4, 1), tensor(4, 2)];
    expect(() =>
      withHooks({ attention: (call) => call.attend({ k: tensor(5, 1) }) }, () => attention(q, k, v)),
    ).toThrow(/expected v/);
  });
});
