import { describe, expect, test } from 'vitest';
import {
  InvalidArgumentError,
  InvalidFileError,
  listed,
  MezzotintError,
  parseJson,
  printable,
  quoted,
  readingBudget,
  textOf,
  WeightsMismatchError,
} from '../src/index.js';

const CLEAR = '\u001b[2J\u001b]0;owned\u0007';
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

describe('words out of files', () => {
  test('no character that a terminal obeys is left in a message, whatever class it has', () => {
    const name = `${CLEAR}\r\n\u009b31m\u202eevil\u2028x\ud800`;
    const errors = [
      new MezzotintError('CODE', `x: ${name}`),
      new InvalidArgumentError('who', [`a ${name}`, 'b']),
      new InvalidFileError(name, `holds ${name}`),
      new WeightsMismatchError('DiT', [name], [name], [{ name, expected: '[1]', got: name }]),
    ];
    for (const { message } of errors) {
      expect(message).not.toMatch(OBEYED);
      expect(message).toContain('\\u001b[2J');
      expect(message).not.toMatch(/\p{Cs}/u);
    }
    expect(errors[3]!.facts.missing).toEqual([name]); // Programs have it as it is.
  });

  test('a name cannot begin a line of its own, our lists keep theirs', () => {
    const forged = 'x\nsample: all weights are fine';
    expect(new InvalidFileError('f', forged).message).toBe('f: x\\nsample: all weights are fine');
    expect(new InvalidArgumentError('who', ['one', 'two']).message).toBe('who:\n  one\n  two');
    expect(new WeightsMismatchError('DiT', ['a\n  b'], [], []).message.split('\n')).toHaveLength(2);
  });

  test('megabytes are cut in the middle, and it is said how much is missing', () => {
    const long = 'n'.repeat(300_000);
    expect(new WeightsMismatchError('DiT', Array(50).fill(long), [], []).message.length).toBeLessThan(16_500);
    expect(new InvalidFileError('f', long).message.length).toBeLessThan(4200);
    expect(quoted(long)).toMatch(/^"n{150}… \(299800 characters\) …n{50}"$/);
    expect(printable('\u0000'.repeat(1e7)).length).toBeLessThan(20_000);
    expect(listed(Array.from({ length: 23 }, (_, i) => `t${i}`))).toMatch(/^t0, .*, t19, … and 3 more$/);
  });

  test('text that people write stays as it is', () => {
    for (const text of ['Zürich', '猫 und 👩‍👩‍👧', 'a/b.c-d_e', 'x: expected [1, 2], got "y"'])
      expect(printable(text)).toBe(text);
    expect(quoted('say "hi"\\')).toBe('"say \\"hi\\"\\\\"');
    expect(quoted(['a'])).toBe('a list of 1');
    expect(quoted({ toString: 1 })).toBe('an object');
  });

  test('the name of an error is its own, not that of a renamed class', () => {
    expect([new MezzotintError('c', 'm').name, new InvalidArgumentError('w', 'p').name]).toEqual([
      'MezzotintError',
      'InvalidArgumentError',
    ]);
    expect([new InvalidFileError('f', 'p').name, new WeightsMismatchError('m', [], [], []).name]).toEqual([
      'InvalidFileError',
      'WeightsMismatchError',
    ]);
  });
});

describe('parseJson', () => {
  test('reads what JSON.parse reads, and the numbers of Python when asked', () => {
    const text = '{"a": [1, -2.5e3, "x\\"[{,NaN", null, true], "__proto__": {"b": {}}}';
    expect(parseJson(text)).toEqual(JSON.parse(text));
    expect(parseJson('[NaN, -Infinity, Infinity, "NaN", -1]', { python: true })).toEqual([null, null, null, 'NaN', -1]);
    expect(() => parseJson('[NaN]')).toThrow(SyntaxError);
    for (const bad of ['[Nan]', '{"a": Infinit}', '"\\', '["', '[1']) {
      expect(() => parseJson(bad, { python: true })).toThrow(SyntaxError);
    }
  });

  test('depth and number of values are bounded before anything is built', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(parseJson(nested(readingBudget.jsonDepth))).toBeDefined();
    expect(() => parseJson(nested(readingBudget.jsonDepth + 1))).toThrow(/nested deeper than 64 at character 64/);
    expect(() => parseJson(nested(5_000_000))).toThrow(/nested deeper/);
    expect(() => parseJson(`[${'{},'.repeat(2 ** 21)}1]`)).toThrow(/more than 2097152 values/);
  });

  test('the time is linear: an unfinished string of escapes of 8 MB', () => {
    const started = performance.now();
    expect(() => parseJson(`{"a":"${'\\"'.repeat(4e6)}`, { python: true })).toThrow(SyntaxError);
    expect(performance.now() - started).toBeLessThan(5000); // The quadratic one took hours.
  });
});

test('textOf never runs what a file says is toString', () => {
  expect(textOf('a name')).toBe('a name');
  expect([textOf(undefined), textOf(null), textOf(3), textOf(true)]).toEqual(['undefined', 'null', '3', 'true']);
  expect(typeof textOf({ toString: 1 })).toBe('string');
  expect(textOf([{ toString: 1 }]).length).toBeLessThan(300);
});
