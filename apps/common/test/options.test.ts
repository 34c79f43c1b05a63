import { describe, expect, test } from 'vitest';
import { oneOf, realNumber, wholeNumber } from '../src/index.js';

describe('flags', () => {
  test('whole numbers', () => {
    expect(wholeNumber('--n', 1)('12')).toBe(12);
    for (const bad of ['0', '-1', '1.5', '1e3', '', 'ten', '99999999999999999999']) {
      expect(() => wholeNumber('--n', 1)(bad)).toThrow(`--n: expected a whole number of at least 1, got '${bad}'`);
    }
  });

  test('numbers in a range', () => {
    expect(realNumber('--g', 0)('1.5')).toBe(1.5);
    for (const bad of ['-0.1', 'NaN', 'Infinity', '', ' ']) expect(() => realNumber('--g', 0)(bad)).toThrow('--g');
  });

  test('words', () => {
    expect(oneOf('--s', ['a', 'b'])('b')).toBe('b');
    expect(() => oneOf('--s', ['a', 'b'])('c')).toThrow("expected one of a, b, got 'c'");
  });
});
