import { InvalidFileError } from '@mezzotint/core';
import { bytesSource, openTorch } from '@mezzotint/weights';
import { expect, test } from 'vitest';

// Short pickles that ask for much. Each was written by hand from the list of instructions of Python's pickletools.
const text = (s: string) => [...new TextEncoder().encode(s)];
const u32 = (n: number) => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24];
const global = (module: string, name: string) => [0x63, ...text(`${module}\n${name}\n`)];
const put = (i: number) => [0x72, ...u32(i)];
const get = (i: number) => [0x6a, ...u32(i)];
const words = (s: string) => [0x58, ...u32(s.length), ...text(s)];
const repeat = (count: number, make: (i: number) => readonly number[]) =>
  Array.from({ length: count }, (_, i) => make(i)).flat();
const pickle = (...parts: readonly (readonly number[])[]) => Uint8Array.from([0x80, 2, ...parts.flat(), 0x2e]);
const MARK = [0x28];
const POP = [0x30];
const EMPTY_LIST = [0x5d];
const EMPTY_DICT = [0x7d];
const NONE = [0x4e];
const LONG4 = [0x8b];
const TUPLE = [0x74];
const TUPLE1 = [0x85];
const TUPLE2 = [0x86];
const APPEND = [0x61];
const APPENDS = [0x65];
const SETITEM = [0x73];
const SETITEMS = [0x75];
const STACK_GLOBAL = [0x93];
const REDUCE = [0x52];
const number = (n: number) => [0x4a, ...u32(n)];

const ordered = global('collections', 'OrderedDict');
/** A tuple of two tuples of two tuples. */
const doubled = (levels: number) => [
  ...[...words('x'), ...put(0), ...POP],
  ...repeat(levels, () => [...get(0), ...get(0), ...TUPLE2, ...put(0), ...POP]),
  ...get(0),
];
const rebuildType = global('torch._tensor', '_rebuild_from_type_v2');

const bombs: readonly (readonly [string, RegExp, Uint8Array])[] = [
  [
    'a dict of 30,000 entries, copied 30,000 times',
    /copies the same values over and over/,
    pickle(
      [...EMPTY_DICT, ...MARK, ...repeat(30_000, (i) => [...number(i), ...NONE]), ...SETITEMS, ...put(0)],
      [...ordered, ...put(1), ...EMPTY_LIST, ...MARK],
      [...repeat(30_000, () => [...get(1), ...get(0), ...TUPLE1, ...REDUCE]), ...APPENDS],
    ),
  ],
  [
    'a text of 100,000 letters, encoded 30,000 times',
    /copies the same values over and over/,
    pickle(
      [
        ...words('x'.repeat(100_000)),
        ...words('latin1'),
        ...TUPLE2,
        ...put(0),
        ...global('_codecs', 'encode'),
        ...put(1),
      ],
      [...EMPTY_LIST, ...MARK, ...repeat(30_000, () => [...get(1), ...get(0), ...REDUCE]), ...APPENDS],
    ),
  ],
  [
    'a call whose arguments hold the call itself',
    /holds no tensors/,
    pickle(
      [...rebuildType, ...put(0), ...EMPTY_LIST, ...put(1)],
      [...get(0), ...APPEND, ...NONE, ...APPEND, ...get(1), ...APPEND, ...REDUCE],
    ),
  ],
  ['a key that doubles 60 times', /holds no tensors/, pickle([...EMPTY_DICT, ...doubled(60), ...NONE, ...SETITEM])],
  [
    'a value that doubles 60 times',
    /refers to the same values over and over/,
    pickle([...EMPTY_DICT, ...words('w'), ...doubled(60), ...SETITEM]),
  ],
  [
    'a key 200,000 tuples deep',
    /holds no tensors/,
    pickle([...EMPTY_DICT, ...NONE, ...repeat(200_000, () => TUPLE1), ...NONE, ...SETITEM]),
  ],
  ['a value 200,000 tuples deep', /nested deeper than 100/, pickle([...NONE, ...repeat(200_000, () => TUPLE1)])],
  [
    'globals of one long module',
    /the name of a global is longer/,
    pickle(
      [...words('m'.repeat(100_000)), ...put(0), ...EMPTY_LIST, ...MARK],
      [...repeat(30_000, (i) => [...get(0), ...words(String(i)), ...STACK_GLOBAL]), ...APPENDS],
    ),
  ],
  [
    'ten million dicts',
    /makes more than 1048576 objects|puts more than 1048576 values on its stack/,
    pickle(MARK, new Array<number>(10_000_000).fill(0x7d), TUPLE),
  ],
  [
    'ten million values',
    /puts more than 1048576 values on its stack/,
    pickle(new Array<number>(10_000_000).fill(0x4e)),
  ],
  [
    'two million values that are kept',
    /keeps more than 1048576 values in its memo/,
    pickle(NONE, repeat(2_000_000, put)),
  ],
  ['two million marks', /marks its stack over and over/, pickle(NONE, new Array<number>(2_000_000).fill(0x28))],
  [
    'twenty million instructions that do nothing',
    /more than 16777216 instructions/,
    pickle(
      NONE,
      new Array<number>(20_000_000).fill(0).map((_, i) => (i % 2 === 0 ? 0x4e : 0x30)),
    ),
  ],
  ['an integer of 100 MB', /an integer has 100000000 bytes/, pickle([...LONG4, ...u32(100_000_000)])],
];

// Each would take gigabytes, minutes or the call stack if it got what it asks for; refused, none takes long.
test.each(bombs)('refused: %s', async (_, problem, bytes) => {
  const error: unknown = await openTorch(bytesSource(bytes)).catch((thrown: unknown) => thrown);
  expect(InvalidFileError.isInstance(error)).toBe(true);
  expect((error as Error).message).toMatch(problem);
});
