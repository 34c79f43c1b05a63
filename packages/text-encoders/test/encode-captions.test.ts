import { switchTo } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import {
  type CaptionEncoder,
  ClipTextModelWithProjection,
  captionShape,
  clipTokenizer,
  encodeCaptions,
  T5EncoderModel,
  trainClipVocabulary,
} from '../src/index.js';

beforeAll(() => switchTo('cpu'));

const vocabulary = trainClipVocabulary(['a red cat', 'a blue cat', 'a red dog'], { size: 600 });
const vocabSize = Object.keys(vocabulary.vocab).length;
const tokenizer = clipTokenizer(vocabulary, { maxLength: 8 });

function clip(width: number, projection: number, options: Partial<CaptionEncoder> = {}): CaptionEncoder {
  const tower = { width, mlpWidth: 16, layers: 2, heads: 2, activation: 'quick', epsilon: 1e-5 } as const;
  const config = { ...tower, vocabSize, positions: 8, pooledToken: vocabSize - 1, projection };
  return { encoder: new ClipTextModelWithProjection(config).init(width), tokenizer, ...options };
}

const t5 = (): CaptionEncoder => ({
  encoder: new T5EncoderModel({
    ...{ vocabSize, width: 12, headWidth: 4, heads: 2, mlpWidth: 16, layers: 1, activation: 'tanh', gated: true },
    ...{ buckets: 8, maxDistance: 16, epsilon: 1e-6 },
  }).init(3),
  tokenizer: { ...tokenizer, start: null },
  length: 5,
});

test('tokens stand behind each other, padded to the widest; pooled texts of CLIP side by side', () => {
  const encoders = [clip(8, 6), clip(4, 2, { length: 6, skip: 1 }), t5()];
  expect(captionShape(encoders)).toEqual({ tokens: 8 + 6 + 5, width: 12, pooledWidth: 8 });
  const texts = ['a red cat', 'a dog'];
  const { context, contextMask, pooled } = encodeCaptions(encoders, [texts, texts, texts]);
  expect(context.shape).toEqual([2, 19, 12]);
  expect(pooled.shape).toEqual([2, 8]);
  const alone = encodeCaptions([encoders[1]!], [texts]);
  const part = tf.slice(context, [0, 8, 0], [2, 6, 4]);
  expect(Array.from(part.dataSync())).toEqual(Array.from(alone.context.dataSync()));
  expect(
    tf
      .slice(context, [0, 8, 4], [2, 6, 8])
      .dataSync()
      .every((value) => value === 0),
  ).toBe(true);
  expect(Array.from(tf.slice(pooled, [0, 6], [2, 2]).dataSync())).toEqual(Array.from(alone.pooled.dataSync()));
  // Start, words and end count: 'a red cat' has 5 tokens, 'a dog' 4 or more (dog was seen once, so it is cut into letters).
  const mask = contextMask.arraySync();
  expect(mask[0]!.slice(0, 8)).toEqual([1, 1, 1, 1, 1, 0, 0, 0]);
  expect(contextMask.dtype).toBe('int32');
});

test('the layer before the last is normed, as Stable Diffusion 2 has it', () => {
  const one = clip(8, 6, { skip: 1 });
  const { context } = encodeCaptions([one], [['a red cat']]);
  const { encoder } = one as { encoder: ClipTextModelWithProjection };
  const padded = [tokenizer.start!, ...tokenizer.encode('a red cat'), ...Array(4).fill(tokenizer.end)];
  const { hiddenState } = encoder.forward(tf.tensor2d([padded], [1, 8], 'int32'), { skip: 1 });
  const expected = encoder.text_model.final_layer_norm.forward(hiddenState);
  expect(Array.from(context.dataSync())).toEqual(Array.from(expected.dataSync()));
});

test('no caption is the empty text, or zeros; without CLIP the mean of the tokens that count is pooled', () => {
  const [none, empty] = [
    [null, 'a cat'],
    ['', 'a cat'],
  ].map((texts) => encodeCaptions([clip(8, 6)], [texts]));
  expect(Array.from(none!.context.dataSync())).toEqual(Array.from(empty!.context.dataSync()));
  const hidden = encodeCaptions([clip(8, 6)], [[null, 'a cat']], { none: 'zeros' });
  for (const tensor of Object.values(hidden)) {
    const [first, second] = tf.split(tensor as tf.Tensor, 2).map((row) => Array.from(row.dataSync()));
    expect(first!.every((value) => value === 0)).toBe(true);
    expect(second!.some((value) => value !== 0)).toBe(true);
  }
  const { context, contextMask, pooled } = encodeCaptions([t5()], [['cat']]);
  const [rows, mask] = [context.arraySync()[0]!, contextMask.arraySync()[0]!];
  const count = mask.reduce((sum, value) => sum + value, 0);
  const mean = Array.from({ length: 12 }, (_, k) => rows.reduce((sum, row, i) => sum + row[k]! * mask[i]!, 0) / count);
  Array.from(pooled.dataSync()).forEach((value, k) => {
    expect(value).toBeCloseTo(mean[k]!, 5);
  });
});

test('lists that do not fit, and lengths that a tokenizer does not allow, are refused together', () => {
  expect(() => encodeCaptions([clip(8, 6, { length: 9 })], [['a'], ['b', 'c']])).toThrow(
    /expected a list for each of 1 encoders, got 2[\s\S]*as many texts for each encoder[\s\S]*length: expected a whole number in 2..8, got 9/,
  );
});
