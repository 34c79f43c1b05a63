import { switchTo } from '@mezzotint/backend/testing';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import {
  clipTokenizer,
  clipVocabulary,
  t5Tokenizer,
  tokenize,
  tokenizerOptionsFromTransformers,
} from '../src/index.js';
import { readSentencePieceModel } from '../src/tokenizers/sentence-piece.js';
import { readJson } from './support/golden.js';
import { readBytes, tinyClipTokenizer } from './support/tokenizers.js';

interface Row {
  readonly text: string;
  readonly clip: number[];
  readonly spiece: number[];
  /** What transformers says where sentencepiece says something else. */
  readonly t5?: number[];
}

const { rows } = readJson<{ rows: Row[] }>('token-ids.json');
const spiece = readBytes('tokenizers/spiece.model');

/** T5's tokenizer.json with the character rules that the fixture leaves out. */
function t5Json() {
  const json = readJson<{ normalizer: { precompiled_charsmap: string } }>('tokenizers/t5-tokenizer.json');
  const { charsmap } = readSentencePieceModel('spiece.model', spiece);
  json.normalizer.precompiled_charsmap = Buffer.from(charsmap!).toString('base64');
  return json;
}

describe('1,000 strings give the ids of the reference', () => {
  test('there are 1,000, of every kind', () => {
    expect(rows).toHaveLength(1000);
    expect(new Set(rows.map(({ text }) => text)).size).toBeGreaterThan(950);
    for (const kind of [
      /\p{Emoji_Presentation}/u,
      /\p{Script=Han}/u,
      /\p{Script=Arabic}/u,
      /’|'/u,
      /\t/u,
      /\u0301/u,
      /Σ/u,
    ]) {
      expect(rows.filter(({ text }) => kind.test(text)).length).toBeGreaterThan(3);
    }
    expect(Math.max(...rows.map(({ text }) => text.length))).toBeGreaterThan(1000);
  });

  // Ids are whole numbers: no tolerance.
  test.each([
    ['vocab.json and merges.txt', () => tinyClipTokenizer()],
    ['tokenizer.json', () => clipTokenizer({ tokenizerJson: readJson('tokenizers/clip-tokenizer.json') })],
  ])('CLIP from %s', (_, open) => {
    const tokenizer = open();
    expect(rows.filter(({ text, clip }) => String(tokenizer.encode(text)) !== String(clip))).toEqual([]);
  });

  // transformers 5.24.0, CLIPTokenizer of the same tokenizer.json.
  test.each([
    ["\ufeffDON'T", [171, 119, 379, 1153, 902]],
    ['a \ufeff\u2019s cat', [320, 171, 119, 123, 893, 338, 698]],
    ['cat\ufeff!?dog', [698, 171, 119, 123, 0, 286, 1047, 326]],
    ["\ufeff\ufeff's", [171, 119, 123, 171, 119, 123, 262, 338]],
    [' a\u0085b', [320, 321]],
  ])('CLIP: U+FEFF is no white space, U+0085 is: %j', (text, ids) => {
    expect(tinyClipTokenizer().encode(text)).toEqual(ids);
  });

  test.each([
    ['spiece.model', () => t5Tokenizer({ spiece })],
    ['tokenizer.json', () => t5Tokenizer({ tokenizerJson: t5Json() })],
  ])('T5 from %s', (_, open) => {
    const tokenizer = open();
    expect(rows.filter(({ text, spiece, t5 }) => String(tokenizer.encode(text)) !== String(t5 ?? spiece))).toEqual([]);
  });

  test('sentencepiece itself differs only where a text has U+0085, which transformers takes for a space', () => {
    const different = rows.filter(({ t5 }) => t5 !== undefined);
    expect(different.length).toBeLessThan(50);
    expect(different.every(({ text }) => text.includes('\u0085'))).toBe(true);
  });
});

describe('frames and padding', () => {
  const expected = readJson<{
    texts: string[];
    clip: number[][];
    t5: { input_ids: number[][]; attention_mask: number[][] };
    filled: { texts: string[]; ids: number[][] };
  }>('padded-ids.json');

  test('CLIP: start, text cut to 75, end, filled up with the end', async () => {
    await switchTo('cpu');
    const before = tf.memory().numTensors;
    const { ids, mask } = tokenize(tinyClipTokenizer(), expected.texts);
    expect(ids.arraySync()).toEqual(expected.clip);
    expect(ids.dtype).toBe('int32');
    // The last text is too long: all of it counts. The empty one is start and end.
    const counts = (mask.arraySync() as number[][]).map((row) => row.reduce((a, b) => a + b));
    expect([counts[0], counts[1], counts[3]]).toEqual([2, 4, 77]);
    tf.dispose([ids, mask]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('OpenCLIP: filled up with 0; a ! in a text is 0 too, as in transformers, or text, as in OpenCLIP', () => {
    const { texts, ids } = expected.filled;
    const special = tinyClipTokenizer({ pad: '!' });
    expect(special.pad).toBe(0);
    expect(tokenize(special, texts, { length: 16 }).ids.arraySync()).toEqual(ids);
    const plain = tinyClipTokenizer({ pad: '!', padInText: 'plain' });
    expect(plain.encode(texts[0]!)).toEqual(tinyClipTokenizer().encode(texts[0]!));
    expect(plain.encode('!')).toEqual([256]);
    const listed = clipTokenizer(
      { tokenizerJson: readJson('tokenizers/clip-tokenizer.json') },
      { pad: '!', padInText: 'plain' },
    );
    expect(listed.encode('!')).toEqual([256]);
  });

  test('T5: text, end, filled up with 0, and a mask', () => {
    const { ids, mask } = tokenize(t5Tokenizer({ spiece }), expected.texts, { length: 32 });
    expect(ids.arraySync()).toEqual(expected.t5.input_ids);
    expect(mask.arraySync()).toEqual(expected.t5.attention_mask);
  });

  test('ids of a short context, and lengths that cannot be', () => {
    const tokenizer = tinyClipTokenizer();
    expect(tokenize(tokenizer, ['a cat'], { length: 2 }).ids.arraySync()).toEqual([[tokenizer.start, tokenizer.end]]);
    expect(() => tokenize(tokenizer, [], { length: 78 })).toThrow(/at least one[\s\S]*2\.\.77, got 78/);
  });
});

describe('options', () => {
  test('tokenizer_config.json', () => {
    const read = tokenizerOptionsFromTransformers;
    expect(read({ pad_token: '!', model_max_length: 77 })).toEqual({ pad: '!', maxLength: 77 });
    expect(read({ pad_token: { content: '<pad>' }, model_max_length: 1e30 })).toEqual({ pad: '<pad>' });
    expect(read({})).toEqual({});
    expect(() => read('{}')).toThrow(InvalidArgumentError);
  });

  test('a pad that is no token is refused', () => {
    expect(() => tinyClipTokenizer({ pad: '<no>' })).toThrow(/pad: expected a token of vocab.json, got "<no>"/);
    expect(() => t5Tokenizer({ spiece }, { pad: 'a' })).toThrow(/pad: expected a special token/);
    expect(() => tinyClipTokenizer({ maxLength: 0 })).toThrow(InvalidArgumentError);
  });
});

describe('files that are not what they should be', () => {
  const vocab = readJson<Record<string, number>>('tokenizers/vocab.json');
  test.each<[string, () => unknown, RegExp]>([
    ['vocab is a list', () => clipTokenizer({ vocab: [], merges: '' }), /vocab.json: expected an object/],
    ['an id is no number', () => clipTokenizer({ vocab: { ...vocab, a: 'x' }, merges: '' }), /whole numbers/],
    ['an id is huge', () => clipTokenizer({ vocab: { ...vocab, a: 2 ** 40 }, merges: '' }), /whole numbers/],
    ['no end', () => clipTokenizer({ vocab: { a: 0 }, merges: '' }), /has no <\|startoftext\|>/],
    ['a merge of three', () => clipTokenizer({ vocab, merges: 'a b c' }), /merges.txt: merge 1: expected two parts/],
    [
      'a merge to nowhere',
      () => clipTokenizer({ vocab, merges: '#version: 0.2\n€ €' }),
      /"€€" is not in the vocabulary/,
    ],
    ['no model', () => clipTokenizer({ tokenizerJson: {} }), /tokenizer.json: expected a tokenizer.json/],
    ['T5 for CLIP', () => clipTokenizer({ tokenizerJson: t5Json() }), /model: expected BPE, as in CLIP/],
    [
      'CLIP for T5',
      () => t5Tokenizer({ tokenizerJson: readJson('tokenizers/clip-tokenizer.json') }),
      /model: expected Unigram, as in T5/,
    ],
    ['no pieces', () => t5Tokenizer({ spiece: new Uint8Array() }), /spiece.model: expected a sentencepiece model/],
    ['cut short', () => t5Tokenizer({ spiece: spiece.subarray(0, -1) }), /ends inside a field/],
  ])('%s', (_, open, message) => {
    expect(open).toThrow(InvalidFileError);
    expect(open).toThrow(message);
  });

  test('a tokenizer.json of the years before the model’s type and pairs of merges were written', () => {
    const clip = readJson<{ model: { type?: string; merges: [string, string][] } }>('tokenizers/clip-tokenizer.json');
    const { type: _, ...bytePairs } = clip.model;
    const lines = bytePairs.merges.map((pair) => pair.join(' '));
    const old = clipTokenizer({ tokenizerJson: { ...clip, model: { ...bytePairs, merges: lines } } });
    expect(old.encode('two dogs’ café')).toEqual(tinyClipTokenizer().encode('two dogs’ café'));
    const { model, ...t5 } = t5Json() as ReturnType<typeof t5Json> & { model: { type?: string } };
    const { type: __, ...pieces } = model;
    const text = 'an ﬁne oil painting';
    expect(t5Tokenizer({ tokenizerJson: { ...t5, model: pieces } }).encode(text)).toEqual(
      t5Tokenizer({ spiece }).encode(text),
    );
  });

  test('a tokenizer.json with other steps is refused, so none of its regular expressions ever runs', () => {
    const json = readJson<{ pre_tokenizer: unknown; normalizer: unknown }>('tokenizers/clip-tokenizer.json');
    const slow = { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Removed', invert: true };
    const other = { ...json, pre_tokenizer: slow };
    expect(() => clipTokenizer({ tokenizerJson: other })).toThrow(/pre_tokenizer: expected Split ByteLevel/);
    // The same types with another pattern: CLIP's own is used.
    const evil = { ...json, pre_tokenizer: { type: 'Sequence', pretokenizers: [slow, { type: 'ByteLevel' }] } };
    const start = performance.now();
    const text = `${'a'.repeat(5000)}!`;
    expect(clipTokenizer({ tokenizerJson: evil }).encode(text)).toEqual(tinyClipTokenizer().encode(text));
    // Backtracking over 2^5000 ways would never end; a second is far above what the right pattern needs.
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test('5,000 damaged copies of spiece.model give an error of ours or a tokenizer', () => {
    // Pieces only: the rules, 240 KB in which a flipped bit does little, have their own test below.
    const { charsmap } = readSentencePieceModel('spiece.model', spiece);
    const small = spiece.slice(0, spiece.length - charsmap!.length - 200);
    let state = 1;
    const random = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    let refused = 0;
    for (let i = 0; i < 5000; i++) {
      const copy = small.slice(0, 1 + random(2000));
      for (let k = random(4); k >= 0; k--) copy[random(copy.length)] = random(256);
      try {
        readSentencePieceModel('spiece.model', copy);
      } catch (error) {
        expect(InvalidFileError.isInstance(error)).toBe(true);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});

describe('the vocabulary of a GGUF file', () => {
  const { pieces, charsmap } = readSentencePieceModel('spiece.model', spiece);
  // As llama.cpp writes it: normal 1, unknown 2, control 3, unused 5; behind it, rows that no text leads to.
  const special: Readonly<Record<string, number>> = { '<pad>': 3, '</s>': 3, '<unk>': 2 };
  const texts = [...pieces.map(([piece]) => piece), '[PAD0]', '[PAD1]'];
  const lists: Record<string, ArrayLike<string | number>> = {
    'tokenizer.ggml.tokens': texts,
    'tokenizer.ggml.scores': [...pieces.map(([, score]) => score), -1000, -1000],
    'tokenizer.ggml.token_type': texts.map((text) => (text.startsWith('[PAD') ? 5 : (special[text] ?? 1))),
    'tokenizer.ggml.precompiled_charsmap': charsmap!,
  };
  const gguf = (more: Readonly<Record<string, ArrayLike<string | number> | undefined>> = {}, keys = {}) => ({
    name: 't5.gguf',
    metadata: new Map(Object.entries({ 'tokenizer.ggml.model': 't5', ...keys })),
    lists: new Map(Object.entries({ ...lists, ...more }).filter((entry) => entry[1] !== undefined)) as ReadonlyMap<
      string,
      ArrayLike<string | number>
    >,
  });

  test('gives the ids of spiece.model', () => {
    const [ours, theirs] = [t5Tokenizer({ gguf: gguf() }), t5Tokenizer({ spiece })];
    for (const { text } of rows.slice(0, 300)) expect(ours.encode(text), text).toEqual(theirs.encode(text));
    expect([ours.pad, ours.end]).toEqual([theirs.pad, theirs.end]);
  });

  test('is refused where it is no T5 vocabulary, with all that is wrong', () => {
    expect(() =>
      t5Tokenizer({ gguf: gguf({ 'tokenizer.ggml.scores': [1] }, { 'tokenizer.ggml.model': 'llama' }) }),
    ).toThrow(/t5.gguf.*expected t5, got "llama"; expected as many tokens, scores and token_types/);
    const numbers = texts.map((_, i) => i);
    for (const [more, keys, message] of [
      [{ 'tokenizer.ggml.tokens': undefined }, {}, /got 0, \d+, \d+/],
      [{ 'tokenizer.ggml.tokens': numbers }, {}, /expected as many tokens/],
      [{ 'tokenizer.ggml.precompiled_charsmap': ['a'] }, {}, /precompiled_charsmap: expected bytes/],
      [{}, { 'tokenizer.ggml.unknown_token_id': '99999999' }, /unknown_token_id: expected one of/],
      [{}, { 'tokenizer.ggml.remove_extra_whitespaces': '0' }, /spaces that are kept/],
    ] as const) {
      const given = gguf(more, keys);
      expect(() => t5Tokenizer({ gguf: given })).toThrow(message);
      expect(() => t5Tokenizer({ gguf: given })).toThrow(InvalidFileError);
    }
  });
});

test('the published vocabulary: 1,000 strings give the ids of transformers, which had it from another source', async () => {
  const tokenizer = clipTokenizer(await clipVocabulary());
  const { ids } = readJson<{ ids: number[][] }>('clip-ids.json');
  expect(ids).toHaveLength(rows.length);
  expect(rows.filter(({ text }, i) => String(tokenizer.encode(text)) !== String(ids[i]))).toEqual([]);
  expect(tokenizer).toMatchObject({ start: 49406, end: 49407, pad: 49407, maxLength: 77 });
  expect(clipTokenizer(await clipVocabulary(), { pad: '!' }).pad).toBe(0);
  expect(tokenizer.encode('a photo of a cat')).toEqual([320, 1125, 539, 320, 2368]); // As everybody's examples have it.
});
