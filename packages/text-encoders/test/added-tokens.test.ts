import { InvalidFileError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { clipTokenizer, t5Tokenizer, tokenizerOptionsFromTransformers } from '../src/index.js';
import { readJson } from './support/golden.js';
import { readBytes } from './support/tokenizers.js';

interface Golden {
  readonly added_tokens_decoder: Record<string, { content: string }>;
  readonly added_tokens: Record<string, number>;
  readonly rows: { readonly text: string; readonly decoder: number[]; readonly file: number[] }[];
}

const golden = readJson<Golden>('added-tokens.json');
const files = {
  vocab: readJson('tokenizers/vocab.json'),
  merges: new TextDecoder().decode(readBytes('tokenizers/merges.txt')),
};
const optionsOf = (decoder: unknown) => tokenizerOptionsFromTransformers({ added_tokens_decoder: decoder });

describe('tokens beside the vocabulary', () => {
  // Ids are whole numbers: no tolerance. The texts have tokens of every flag, side by side, in both cases, composed or not.
  test('of added_tokens_decoder give the ids of transformers', () => {
    const tokenizer = clipTokenizer(files, optionsOf(golden.added_tokens_decoder));
    const ids = golden.rows.map(({ text }) => ({ text, ids: tokenizer.encode(text) }));
    expect(ids).toEqual(golden.rows.map(({ text, decoder }) => ({ text, ids: decoder })));
  });

  test('of added_tokens.json give the ids of transformers', () => {
    const tokenizer = clipTokenizer({ ...files, addedTokens: golden.added_tokens });
    const ids = golden.rows.map(({ text }) => ({ text, ids: tokenizer.encode(text) }));
    expect(ids).toEqual(golden.rows.map(({ text, file }) => ({ text, ids: file })));
  });

  test('may be the token that fills up, and T5 knows them too', () => {
    const { id } = { id: 9000 };
    const added = [{ content: '<fill>', id }];
    expect(clipTokenizer(files, { pad: '<fill>', added }).pad).toBe(id);
    const t5 = t5Tokenizer({ spiece: readBytes('tokenizers/spiece.model') }, { added });
    const [a, b] = [t5.encode('a'), t5.encode('b')];
    expect(t5.encode('a<fill>b')).toEqual([...a, id, ...b]);
    // One token may stand for several vectors of a textual inversion.
    const several = clipTokenizer(files, { added: [{ content: '<toy>', id: [9001, 9002] }] });
    expect(several.encode('a <toy>')).toEqual([...several.encode('a'), 9001, 9002]);
  });

  test.each<[string, unknown]>([
    ['a number', 3],
    ['no content', { 5: { id: 3 } }],
    ['an empty content', { 5: { content: '' } }],
    ['an id that is text', { five: { content: 'x' } }],
    ['a negative id', { '-1': { content: 'x' } }],
    ['a content that is an object', { 5: { content: { toString: 1 } } }],
    ['too many', Object.fromEntries(Array.from({ length: 2 ** 16 + 1 }, (_, i) => [i, { content: `<${i}>` }]))],
    ['too long', { 5: { content: 'x'.repeat(2 ** 20 + 1) } }],
  ])('that are %s are refused', (_, decoder) => {
    expect(() => optionsOf(decoder)).toThrow(InvalidFileError);
  });

  test('that two files number differently are refused by name', () => {
    const added = [{ content: '<cat-toy>', id: 3 }];
    expect(() => clipTokenizer({ ...files, addedTokens: golden.added_tokens }, { added })).toThrow(
      /"<cat-toy>" is token \d+ in one file and 3 in another/,
    );
  });

  test('a text of a megabyte that nearly is a long token everywhere takes no time', () => {
    const tokenizer = clipTokenizer(files, { added: [{ content: `${'<'.repeat(500)}x`, id: 9000 }] });
    const started = performance.now();
    expect(tokenizer.encode(`${'< '.repeat(2e5)}`).length).toBeGreaterThan(1000);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

test('a step whose type is an object is refused, not a fault', () => {
  const json = readJson<{ pre_tokenizer: unknown }>('tokenizers/t5-tokenizer.json');
  for (const type of [{ toString: 1 }, ['a'], 7, null, Object.create(null)]) {
    const file = { ...json, pre_tokenizer: { type } };
    expect(() => t5Tokenizer({ tokenizerJson: file })).toThrow(InvalidFileError);
    expect(() => clipTokenizer({ tokenizerJson: { ...file, model: { type } } })).toThrow(InvalidFileError);
  }
});
