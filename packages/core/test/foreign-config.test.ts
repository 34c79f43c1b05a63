import { expect, test } from 'vitest';
import { foreignConfig, InvalidArgumentError } from '../src/index.js';

const keys = {
  defaults: { width: 64, depth: undefined, label: null },
  fixed: { act_fn: 'silu' },
  ignored: (key: string) => key.startsWith('_'),
};

test('what is given is read, absent keys have their defaults, null is a value', () => {
  const read = foreignConfig('Reader', { depth: 2, width: null, act_fn: 'silu', _version: 1, label: undefined }, keys);
  expect([read('depth'), read('width'), read('label')]).toEqual([2, null, null]);
});

test('everything that is unknown, missing or not built is named at once', () => {
  const wrong = () => foreignConfig('Reader', { colour: 1, act_fn: 'relu', toString: 1 }, keys);
  expect(wrong).toThrow(InvalidArgumentError);
  expect(wrong).toThrow(
    /^Reader:\n {2}colour: not an argument.*\n {2}toString: not an argument.*\n {2}depth: missing.*\n {2}act_fn: expected "silu".*got "relu"$/,
  );
});

test.each([null, [], 'text', 3])('%j is not a configuration', (json) => {
  expect(() => foreignConfig('Reader', json, keys)).toThrow(/as a JSON object/);
});
