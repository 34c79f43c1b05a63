import { describe, expect, test } from 'vitest';
import { oneOf, parseLabels, realNumber, wholeNumber } from '../src/index.js';

const digits = ['0', '1', '2', '3'];

describe('parseLabels', () => {
  test('takes names, indices and ranges, in the order given', () => {
    expect(parseLabels('3,0-2', digits)).toEqual([3, 0, 1, 2]);
    expect(parseLabels('cat, 1', ['dog', 'cat'])).toEqual([1, 1]);
  });

  test('a name wins over an index', () => {
    expect(parseLabels('7', ['5', '6', '7'])).toEqual([2]);
  });

  test('names every label that is none, at once', () => {
    expect(() => parseLabels('4,x,3-1,-1', digits)).toThrow(/'4'.*\n.*'x'.*\n.*'3-1'.*\n.*'-1'/s);
  });
});

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
