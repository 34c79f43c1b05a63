import { switchTo, testEngines } from '@mezzotint/backend/testing';
import {
  type CaptionEncoder,
  ClipTextModelWithProjection,
  clipTokenizer,
  encodeCaptions,
  encodeTexts,
  T5EncoderModel,
  trainClipVocabulary,
} from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { CaptionCache } from '../src/caption-cache.js';

const vocabulary = trainClipVocabulary(['a red cat', 'a blue cat', 'a red dog'], { size: 600 });
const vocabSize = Object.keys(vocabulary.vocab).length;
const tokenizer = clipTokenizer(vocabulary, { maxLength: 8 });

function clip(): CaptionEncoder {
  const tower = { width: 24, mlpWidth: 40, layers: 2, heads: 2, activation: 'quick', epsilon: 1e-5 } as const;
  const config = { ...tower, vocabSize, positions: 8, pooledToken: vocabSize - 1, projection: 12 };
  return { encoder: new ClipTextModelWithProjection(config).init(1), tokenizer, skip: 1 };
}

const t5 = (): CaptionEncoder => ({
  encoder: new T5EncoderModel({
    ...{ vocabSize, width: 20, headWidth: 8, heads: 2, mlpWidth: 24, layers: 2, activation: 'tanh', gated: true },
    ...{ buckets: 8, maxDistance: 16, epsilon: 1e-6 },
  }).init(3),
  tokenizer: { ...tokenizer, start: null },
  length: 5,
});

/** Batches as dropout leaves them: captions repeat, are missing in one encoder or in both, and 20 of them are more than are encoded at one time. */
const words = Array.from({ length: 20 }, (_, i) => `a ${i % 2 === 0 ? 'red' : 'blue'} cat ${i}`);
const batches: (string | null)[][][] = [
  [
    ['a red cat', null, 'a dog', 'a red cat'],
    ['a red cat', null, null, 'a dog'],
  ],
  [
    [...words, ''],
    [...words, null],
  ],
  [
    [null, 'a dog'],
    ['a dog', null],
  ],
];

describe.each(await testEngines())('on %s', (engine) => {
  beforeEach(() => switchTo(engine));

  test.each(['empty-prompt', 'zeros'] as const)('numbers are those of encoding each batch, to the bit (%s)', (none) => {
    const encoders = [clip(), t5()];
    const caches = encoders.map((one) => new CaptionCache(one, { none }));
    for (const texts of batches) {
      const [kept, plain] = [
        encodeCaptions(encoders, texts, { encode: (i, own) => caches[i]!.encode(own) }),
        encodeCaptions(encoders, texts, { none }),
      ];
      for (const name of ['context', 'contextMask', 'pooled'] as const) {
        expect(kept[name].shape).toEqual(plain[name].shape);
        expect(kept[name].dtype).toBe(plain[name].dtype);
        expect(kept[name].dataSync()).toEqual(plain[name].dataSync());
      }
    }
  });
});

describe('once', () => {
  beforeEach(() => switchTo('cpu'));

  test('a caption is encoded once, whatever comes with it, and without a recorded operation', () => {
    const one = clip();
    const cache = new CaptionCache(one);
    const forward = vi.spyOn(one.encoder, 'forward');
    const x = tf.variable(tf.scalar(2));
    const loss = (texts: (string | null)[]) => tf.mul(x, tf.sum(cache.encode(texts).context)) as tf.Scalar;
    const before = tf.memory().numTensors;
    const sums = [
      ['a red cat', 'a dog'],
      ['a dog', null, ''],
      [null, 'a red cat', 'a dog'],
    ].map((texts) => {
      const { value, grads } = tf.variableGrads(() => loss(texts), [x]);
      const gradient = grads[x.name]!.dataSync()[0]!;
      expect(gradient).toBeCloseTo(value.dataSync()[0]! / 2, 3);
      tf.dispose([value, grads[x.name]!]);
      return gradient;
    });
    // The empty text is one entry, by whatever name: two texts, then one more, then none.
    expect(forward).toHaveBeenCalledTimes(2);
    expect(new Set(sums).size).toBe(3);
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
  });

  test('what does not fit is encoded again, with the same numbers', () => {
    const one = clip();
    const row = 4 * (8 * 24 + 8 + 12);
    const cache = new CaptionCache(one, { bytes: 2 * row });
    const forward = vi.spyOn(one.encoder, 'forward');
    const texts = ['a red cat', 'a dog', 'a blue cat'];
    const rows = [0, 1, 2].map(() => Array.from(cache.encode(texts).context.dataSync()));
    expect(forward).toHaveBeenCalledTimes(3); // the third text, each time
    const plain = Array.from(encodeTexts(one, texts).context.dataSync());
    for (const numbers of rows) expect(numbers).toEqual(plain);
    cache.encode(texts.slice(0, 2));
    expect(forward).toHaveBeenCalledTimes(4); // once by `plain`, none by the cache
  });
});
