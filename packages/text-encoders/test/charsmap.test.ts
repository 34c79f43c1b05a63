import { InvalidFileError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { Charsmap } from '../src/tokenizers/charsmap.js';
import { readSentencePieceModel } from '../src/tokenizers/sentence-piece.js';
import { readBytes } from './support/tokenizers.js';

const bytes = readSentencePieceModel('spiece.model', readBytes('tokenizers/spiece.model')).charsmap!;
const rules = new Charsmap('spiece.model', bytes);

describe('character rules', () => {
  // sentencepiece's nmt_nfkc is NFKC with a few rules for spaces and controls.
  test.each([
    ['ﬁne ①②③ ｆｕｌｌ', 'fine 123 full'],
    ['ﷺ', 'ﷺ'.normalize('NFKC')],
    ['a\tb\u3000c\u00a0d', 'a b c d'],
    ['e\u0301', 'é'],
    ['a\u0000b', 'a\u0000b'],
    ['👩‍🚀 中文 plain', '👩‍🚀 中文 plain'],
    ['', ''],
  ])('%j', (text, expected) => {
    expect(rules.normalize(text)).toBe(expected.replaceAll('\u200d', rules.normalize('\u200d')));
  });

  test('a lone surrogate becomes the replacement character', () => {
    expect(rules.normalize('a\ud800')).toContain('a');
  });

  test('damaged rules give an error of ours or a text, and no more memory', () => {
    let state = 7;
    const random = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    const text = 'ﬁne ①②③ e\u0301 ﷺ 中文 '.repeat(4);
    let refused = 0;
    for (let i = 0; i < 90; i++) {
      const copy = bytes.slice(0, i % 3 === 0 ? 4 + random(bytes.length) : bytes.length);
      for (let k = 0; k < 3000; k++) copy[(i % 3 === 1 ? 0 : 4) + random(copy.length - 4)] = random(256);
      try {
        // A rule gives at most 256 bytes for at least one.
        expect(new Charsmap('f', copy).normalize(text).length).toBeLessThan(256 * 4 * text.length);
      } catch (error) {
        expect(InvalidFileError.isInstance(error)).toBe(true);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(20);
    expect(() => new Charsmap('f', new Uint8Array(3))).toThrow(InvalidFileError);
  });
});
