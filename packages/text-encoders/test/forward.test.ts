import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError, type Module, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  ClipModel,
  type ClipTextConfig,
  ClipTextModel,
  type ClipVisionConfig,
  clipPixels,
  type T5EncoderConfig,
  T5EncoderModel,
  t5Xxl,
} from '../src/index.js';
import { relativePositionBucket, relativePositionBuckets } from '../src/t5/relative-position.js';
import { readJson, relativeError } from './support/golden.js';
import { randomise } from './support/randomise.js';

const tower = {
  width: 8,
  mlpWidth: 12,
  layers: 2,
  heads: 2,
  activation: 'quick',
  epsilon: 1e-5,
  projection: 4,
} as const;
const text: ClipTextConfig & { projection: number } = { ...tower, vocabSize: 20, positions: 6, pooledToken: 19 };
const vision: ClipVisionConfig = { ...tower, imageSize: 4, patchSize: 2, channels: 3 };
const t5: T5EncoderConfig = {
  ...{ vocabSize: 20, width: 8, headWidth: 3, heads: 2, mlpWidth: 10, layers: 2 },
  ...{ activation: 'tanh', gated: true, buckets: 8, maxDistance: 20, epsilon: 1e-6 },
};

describe('CLIP', () => {
  beforeEach(() => switchTo('cpu'));

  test('a token sees only what is before it', async () => {
    const model = await randomise(new ClipTextModel(text));
    const states = (row: number[]) => model.forward(tf.tensor2d([row], undefined, 'int32')).lastHiddenState;
    const [a, b] = [states([1, 2, 3, 4]), states([1, 2, 3, 9])];
    const difference = tf.abs(tf.sub(a, b)).max(2).arraySync() as number[][];
    // The same numbers in the same order: exactly equal before the token that differs.
    expect(difference[0]!.slice(0, 3)).toEqual([0, 0, 0]);
    expect(difference[0]![3]).toBeGreaterThan(0.01);
  });

  test.each([
    // The first token with the id; the first token of all where there is none, as in transformers.
    [19, [3, 19, 19, 5], 1],
    [19, [3, 4, 5, 6], 0],
    // The largest id, whatever it is; the first one of them.
    ['largest', [3, 19, 19, 5], 1],
    ['largest', [3, 4, 15, 6], 2],
  ] as const)('pooled token %s of %j is number %i', async (pooledToken, row, at) => {
    const model = await randomise(new ClipTextModel({ ...text, pooledToken }));
    const other = [1, 2, 19, 0];
    const { lastHiddenState, pooled } = model.forward(tf.tensor2d([other, [...row]], undefined, 'int32'));
    const expected = (lastHiddenState.arraySync() as number[][][])[1]![at];
    expect((pooled.arraySync() as number[][])[1]).toEqual(expected);
  });

  test('hidden states by how many layers are skipped', async () => {
    const model = await randomise(new ClipTextModel(text));
    const ids = tf.tensor2d([[1, 2, 19]], undefined, 'int32');
    const last = model.forward(ids);
    // Not skipping gives the last layer without its norm.
    const normed = model.text_model.final_layer_norm.forward(last.hiddenState);
    expect(relativeError(normed.dataSync(), last.lastHiddenState.dataSync())).toBe(0);
    // Skipping all gives the embeddings.
    const { token_embedding, position_embedding } = model.text_model.embeddings;
    const embedded = tf.add(token_embedding.forward(ids), tf.slice(position_embedding.weight.value, [0, 0], [3, 8]));
    expect(relativeError(model.forward(ids, { skip: 2 }).hiddenState.dataSync(), embedded.dataSync())).toBe(0);
  });

  test('inputs that do not fit are refused', async () => {
    const model = await randomise(new ClipModel({ text, vision }));
    const ids = tf.zeros([1, 3], 'int32') as tf.Tensor2D;
    const pixels = tf.zeros([1, 4, 4, 3]) as tf.Tensor4D;
    expect(() => model.forward(tf.zeros([1, 7], 'int32'), pixels)).toThrow(/T in 1\.\.6, got int32 \[1,7\]/);
    expect(() => model.forward(tf.zeros([1, 3]), pixels)).toThrow(/got float32/);
    expect(() => model.forward(ids, tf.zeros([1, 4, 6, 3]))).toThrow(/expected \[N, 4, 4, 3\], got \[1,4,6,3\]/);
    expect(() => model.text_model.forward(ids, { skip: 3 })).toThrow(InvalidArgumentError);
    expect(() => clipPixels(tf.zeros([1, 4, 4, 1]))).toThrow(InvalidArgumentError);
  });

  test('pixels: -1 and 1 are black and white, with the published mean and deviation', () => {
    const images = tf.tensor4d([-1, -1, -1, 1, 1, 1], [2, 1, 1, 3]);
    const expected = [-1.79226253, -1.75209713, -1.48021977, 1.93033625, 2.07488384, 2.14589699];
    // float32 of the published constants, printed with nine digits.
    expect(relativeError(clipPixels(images).dataSync(), expected)).toBeLessThan(1e-6);
  });
});

describe('T5', () => {
  beforeEach(() => switchTo('cpu'));

  // Whole numbers: no tolerance.
  test('buckets of relative positions are transformers’', () => {
    const { buckets } = readJson<{ buckets: Record<string, number[]> }>('t5-buckets.json');
    for (const [key, expected] of Object.entries(buckets)) {
      const [count, maxDistance] = key.split(',').map(Number) as [number, number];
      const ours = Array.from({ length: 601 }, (_, i) => relativePositionBucket(i - 300, count, maxDistance));
      expect(ours).toEqual(expected);
    }
    expect([...relativePositionBuckets(3, 32, 128)]).toEqual([0, 17, 18, 1, 0, 17, 2, 1, 0]);
  });

  test('a long text: every pair has its own distance', () => {
    const table = relativePositionBuckets(512, 32, 128);
    for (const [query, key] of [
      [0, 511],
      [511, 0],
      [100, 90],
      [90, 131],
    ] as const) {
      expect(table[query * 512 + key]).toBe(relativePositionBucket(key - query, 32, 128));
    }
  });

  test('what is masked changes nothing: any ids may be there', async () => {
    const model = await randomise(new T5EncoderModel(t5));
    const mask = tf.tensor2d([[1, 1, 1, 0, 0]], undefined, 'int32');
    const states = (row: number[]) => model.forward(tf.tensor2d([row], undefined, 'int32'), { mask });
    const real = (row: number[]) => tf.slice(states(row), [0, 0, 0], [1, 3, 8]).dataSync();
    // A weight of exactly zero for what is masked: equal to the last bit.
    expect(relativeError(real([4, 5, 1, 0, 0]), real([4, 5, 1, 7, 8]))).toBe(0);
    // And the same as the short text, whose sums have fewer terms.
    const short = model.forward(tf.tensor2d([[4, 5, 1]], undefined, 'int32'));
    expect(relativeError(real([4, 5, 1, 0, 0]), short.dataSync())).toBeLessThan(1e-6);
  });

  test('inputs that do not fit are refused', () => {
    const model = t5Xxl.build();
    expect(() => model.forward(tf.zeros([1, 3]))).toThrow(/expected int32 \[N, T\]/);
    const mask = tf.zeros([1, 4], 'int32') as tf.Tensor2D;
    expect(() => model.forward(tf.zeros([1, 3], 'int32'), { mask })).toThrow(/mask: expected \[1,3\]/);
  });
});

/** The sum of the squares, in float64. */
function squareOf(t: tf.Tensor): number {
  return (t.dataSync() as Float32Array).reduce((sum, x) => sum + x * x, 0);
}

const engines = await testEngines();
describe.each(engines)('on %s, gradients', (engine) => {
  beforeEach(() => switchTo(engine));
  const ids = () =>
    tf.tensor2d(
      [
        [3, 4, 4, 19],
        [1, 2, 19, 19],
      ],
      undefined,
      'int32',
    );

  const cases: [string, () => Module, (model: Module) => tf.Scalar][] = [
    [
      'CLIP',
      () => new ClipModel({ text, vision }),
      (model) => {
        const pixels = tf.tensor4d(new TorchGenerator(3).randn(2 * 48), [2, 4, 4, 3]);
        const { logitsPerImage } = (model as ClipModel).forward(ids(), pixels);
        return tf.sum(tf.square(logitsPerImage));
      },
    ],
    [
      'T5',
      () => new T5EncoderModel(t5),
      (model) => {
        const probe = tf.tensor3d(new TorchGenerator(3).randn(2 * 4 * 8), [2, 4, 8]);
        return tf.sum(tf.mul((model as T5EncoderModel).forward(ids()), probe));
      },
    ],
  ];

  test.each(cases)('of %s, along their own direction, are the difference quotient', async (_, build, loss) => {
    const model = await randomise(build());
    const params = [...model.params()];
    const variables = params.map(([, param]) => param.variable);
    const { grads } = tf.variableGrads(() => loss(model), variables);
    const gradients = variables.map((variable) => grads[variable.name]!);
    // Every parameter has a part in the loss.
    for (const [i, gradient] of gradients.entries()) {
      const size = Math.sqrt(squareOf(gradient));
      expect(size, params[i]![0]).toBeGreaterThan(params[i]![0].endsWith('k_proj.bias') ? -1 : 1e-6);
    }
    const squared = gradients.reduce((sum, gradient) => sum + squareOf(gradient), 0);
    const step = 1e-2 / Math.sqrt(squared);
    const moved = (sign: number) =>
      tf.tidy(() => {
        variables.forEach((variable, i) => {
          variable.assign(tf.add(variable, tf.mul(gradients[i]!, sign * step)));
        });
        const value = loss(model).dataSync()[0]!;
        variables.forEach((variable, i) => {
          variable.assign(tf.sub(variable, tf.mul(gradients[i]!, sign * step)));
        });
        return value;
      });
    const quotient = (moved(1) - moved(-1)) / (2 * step);
    // The quotient's own error: third derivatives, and float32 of a loss that a small step hardly moves.
    expect(Math.abs(quotient / squared - 1)).toBeLessThan(0.02);
    model.dispose();
  });
});
