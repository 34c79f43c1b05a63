import { InvalidFileError } from '@mezzotint/core';
import { expect, test } from 'vitest';
import { PickleGlobal, PickleObject } from '../src/pickle/values.js';
import { moduleRecords } from '../src/torch/module-records.js';

const reconstruct = new PickleGlobal('torch_utils.persistence', '_reconstruct_persistent_obj');

/** A checkpoint whose `ema` is a persistence record with these fields. */
function checkpoint(fields: Record<string, unknown>): Map<string, unknown> {
  return new Map([['ema', new PickleObject(reconstruct, [new Map(Object.entries(fields))])]]);
}

const record = (kwargs: unknown) =>
  checkpoint({ class_name: 'Precond', module_src: 'x', state: new Map([['_init_kwargs', kwargs]]) });

test('what is no JSON value in the arguments is null', () => {
  const kwargs = new Map<unknown, unknown>([
    ['channels', 4],
    ['mult', [1, 2]],
    ['array', new PickleObject(new PickleGlobal('numpy', 'ndarray'), [])],
    ['infinite', Number.POSITIVE_INFINITY],
    ['long', 'x'.repeat(5000)],
    ['__proto__', 1],
  ]);
  const { kwargs: read } = moduleRecords('x.pkl', 1000, record(kwargs)).get('ema')!;
  expect(Object.entries(read)).toEqual([
    ['channels', 4],
    ['mult', [1, 2]],
    ['array', null],
    ['infinite', null],
    ['long', null],
    ['__proto__', 1],
  ]);
});

test('arguments that contain themselves end', () => {
  const loop: unknown[] = [];
  loop.push(loop);
  expect(JSON.stringify(moduleRecords('x.pkl', 1000, record(new Map([['loop', loop]]))).get('ema')!.kwargs)).toBe(
    '{"loop":[[[[[[[[null]]]]]]]]}',
  );
});

test('arguments that refer to one value over and over are refused', () => {
  let tree: unknown = Array.from({ length: 1000 }, () => 1);
  for (let level = 0; level < 3; level++) tree = Array.from({ length: 1000 }, () => tree);
  expect(() => moduleRecords('x.pkl', 1000, record(new Map([['tree', tree]])))).toThrow(InvalidFileError);
});

test('records that are none are passed over', () => {
  const of = (fields: Record<string, unknown>) => moduleRecords('x.pkl', 1000, checkpoint(fields)).size;
  expect(of({ class_name: 7, state: new Map() })).toBe(0);
  expect(of({ class_name: 'x'.repeat(1e5), state: new Map() })).toBe(0);
  expect(of({ class_name: 'Precond', state: 'text' })).toBe(0);
  expect(moduleRecords('x.pkl', 1000, record('no dict')).get('ema')?.kwargs).toEqual({});
});
