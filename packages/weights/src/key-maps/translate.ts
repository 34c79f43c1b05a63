import {
  type HostTensor,
  InvalidArgumentError,
  type KeptType,
  type StoredTensor,
  type WeightSource,
} from '@mezzotint/core';
import type { KeyMap, KeyOp, KeyPair, Side } from './key-map.js';
import { agreed, halvesSwapped, partShapes, stack, takePart, transposed } from './move-numbers.js';

/** Where tensors went: these names became those names, and what happened to the numbers on the way. */
export interface Move {
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly op: KeyOp;
}

/** A tensor that was left out on purpose. */
export interface Dropped {
  readonly name: string;
  readonly why: string;
}

/** A checkpoint in another layout. Tensors are converted when they are read. */
export interface Translation extends WeightSource {
  /** Every tensor of the source that is used, in order. */
  readonly moves: readonly Move[];
  /** Every tensor of the source that is not. */
  readonly dropped: readonly Dropped[];
}

/** What is done about what does not fit. */
export interface FitOptions {
  /** Told of each tensor that does not fit, in the place of the error; what does fit is used. */
  readonly report?: ((problem: string) => void) | undefined;
}

type Shapes = WeightSource['tensors'];

/**
 * Shows a checkpoint of one layout as one of the other. Strict: throws an InvalidArgumentError that lists every tensor
 * without a place, every fused tensor with a part missing and every shape that cannot be converted.
 */
export function translate(source: WeightSource, map: KeyMap, from: Side, { report }: FitOptions = {}): Translation {
  const { groups, dropped, unplaced } = place(source.tensors, map, from);
  const problems = unplaced.map((name) => `${name}: has no place in this layout`);
  const moves: Move[] = [];
  const results = new Map<string, Omit<Converted, 'name'>>();
  for (const group of groups) {
    const converted = convert(source, group, from);
    if (typeof converted === 'string') {
      problems.push(converted);
      continue;
    }
    moves.push({ from: sideNames(group, from), to: converted.map(({ name }) => name), op: group.pair.op });
    for (const { name, ...rest } of converted) {
      if (results.has(name)) problems.push(`${name}: two tensors would become it`);
      results.set(name, rest);
    }
  }
  for (const { name, side, shape, make } of map.made ?? []) {
    if (side !== from) results.set(name, { shape, dtype: 'F32', make: async () => ({ shape, data: make() }) });
  }
  if (report !== undefined) for (const problem of problems) report(problem);
  else if (problems.length > 0)
    throw new InvalidArgumentError(`${source.name} does not fit ${map.name}`, shorten(problems));
  const resultOf = (name: string): Omit<Converted, 'name'> => {
    const result = results.get(name);
    if (result === undefined)
      throw new InvalidArgumentError(source.name, `holds no tensor named ${JSON.stringify(name)}`);
    return result;
  };
  return {
    name: source.name,
    tensors: new Map([...results].map(([name, { shape, dtype }]) => [name, { shape, dtype }])),
    moves,
    dropped,
    read: (name) => resultOf(name).make(),
    ...(source.take && {
      take: async (name: string, keep?: readonly KeptType[]): Promise<StoredTensor> => {
        const { shape, moved, make } = resultOf(name);
        if (moved !== undefined) return { ...(await source.take!(moved, keep)), shape };
        const { data } = await make();
        return data instanceof Int32Array
          ? { shape, dtype: 'int32', data: data.slice() }
          : { shape, dtype: 'float32', data: data.slice() };
      },
    }),
  };
}

/** A pair of the map with what follows its names, for example `.weight`. */
interface Group {
  readonly pair: KeyPair;
  readonly rest: string;
}

interface Placement {
  readonly groups: readonly Group[];
  readonly dropped: readonly Dropped[];
  readonly unplaced: readonly string[];
}

function sideNames({ pair, rest }: Group, side: Side): string[] {
  return (side === 'left' ? [pair.left] : pair.right).map((name) => name + rest);
}

/** Finds for each name the pair with the longest beginning. */
function place(tensors: Shapes, map: KeyMap, from: Side): Placement {
  const pairs = new Map<string, KeyPair>();
  for (const pair of map.pairs) for (const name of from === 'left' ? [pair.left] : pair.right) pairs.set(name, pair);
  const leftOut = new Map(map.leftOut.filter(({ side }) => side === from).map(({ name, why }) => [name, why]));
  const groups = new Map<string, Group>();
  const dropped: Dropped[] = [];
  const unplaced: string[] = [];
  for (const name of tensors.keys()) {
    const beginning = beginnings(name).find((b) => pairs.has(b) || leftOut.has(b));
    const pair = beginning === undefined ? undefined : pairs.get(beginning);
    if (beginning === undefined) unplaced.push(name);
    else if (pair === undefined) dropped.push({ name, why: leftOut.get(beginning)! });
    else {
      const rest = name.slice(beginning.length);
      groups.set(pair.left + rest, { pair, rest });
    }
  }
  return { groups: [...groups.values()], dropped, unplaced };
}

/** A name and its beginnings up to a dot, longest first. */
function beginnings(name: string): string[] {
  const found = [name];
  // A name that begins with a dot has no beginning before it; searching from -1 would find that dot again.
  for (let at = name.lastIndexOf('.'); at > 0; at = name.lastIndexOf('.', at - 1)) found.push(name.slice(0, at));
  return found;
}

interface Converted {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  /** The source's tensor whose numbers these are, in the same order. */
  readonly moved?: string;
  make(): Promise<HostTensor>;
}

/** What a group's tensors become, or what is wrong with them. */
function convert(source: WeightSource, group: Group, from: Side): Converted[] | string {
  const names = sideNames(group, from);
  const missing = names.filter((name) => !source.tensors.has(name));
  if (missing.length > 0)
    return `${missing.join(', ')}: missing, while ${names.find((n) => source.tensors.has(n))} is there`;
  return from === 'left' ? toRight(source, group, names[0]!) : toLeft(source, group, names);
}

function toRight(source: WeightSource, group: Group, name: string): Converted[] | string {
  const { shape, dtype } = source.tensors.get(name)!;
  const targets = sideNames(group, 'right');
  const read = async () => source.read(name);
  const single = (newShape: readonly number[], change: (t: HostTensor) => HostTensor): Converted[] => [
    { name: targets[0]!, shape: newShape, dtype, make: async () => change(await read()) },
  ];
  const moved = (newShape: readonly number[]): Converted[] =>
    targets.map((target) => ({
      ...{ name: target, shape: newShape, dtype, moved: name },
      make: async () => ({ shape: newShape, data: (await read()).data }),
    }));
  switch (group.pair.op) {
    case 'same':
    case 'copies':
      return moved(shape);
    case 'transposed':
      return shape.length === 2
        ? single([shape[1]!, shape[0]!], transposed)
        : `${name}: expected a matrix, got [${shape}]`;
    case 'pointwise': {
      if (shape.length === 1) return moved(shape);
      if (shape.length !== 4 || shape[2] !== 1 || shape[3] !== 1)
        return `${name}: expected [O, I, 1, 1], got [${shape}]`;
      return moved(shape.slice(0, 2));
    }
    case 'halves-swapped':
      return (shape[0] ?? 1) % 2 === 0
        ? single(shape, halvesSwapped)
        : `${name}: has no two halves, its shape is [${shape}]`;
    case 'fused': {
      const shares = group.pair.shares ?? targets.map(() => 1);
      const shapes = partShapes(shape, shares);
      if (shapes === undefined) return `${name}: [${shape}] cannot be divided ${shares.join(' : ')}`;
      const whole = readOnceFor(targets.length, read);
      return targets.map((target, i) => ({
        name: target,
        shape: shapes[i]!,
        dtype,
        make: async () => takePart(await whole(), shares, i),
      }));
    }
  }
}

function toLeft(source: WeightSource, group: Group, names: readonly string[]): Converted[] | string {
  const [target] = sideNames(group, 'left') as [string];
  const { shape, dtype } = source.tensors.get(names[0]!)!;
  const read = () => readAll(source, names);
  const single = (newShape: readonly number[], change: (t: readonly HostTensor[]) => HostTensor): Converted[] => [
    { name: target, shape: newShape, dtype, make: async () => change(await read()) },
  ];
  const moved = (newShape: readonly number[]): Converted[] => [
    { ...single(newShape, ([t]) => ({ shape: newShape, data: t!.data }))[0]!, moved: names[0]! },
  ];
  const others = names.map((name) => source.tensors.get(name)!.shape);
  switch (group.pair.op) {
    case 'same':
      return moved(shape);
    case 'copies':
      return others.every((other) => String(other) === String(shape))
        ? single(shape, (copies) => agreed(copies, names))
        : `${names.join(', ')}: must be copies, but have different shapes`;
    case 'transposed':
      return shape.length === 2
        ? single([shape[1]!, shape[0]!], ([t]) => transposed(t!))
        : `${names[0]}: expected a matrix, got [${shape}]`;
    case 'pointwise': {
      if (shape.length === 1) return moved(shape);
      if (shape.length !== 2) return `${names[0]}: expected a matrix, got [${shape}]`;
      return moved([...shape, 1, 1]);
    }
    case 'halves-swapped':
      return (shape[0] ?? 1) % 2 === 0
        ? single(shape, ([t]) => halvesSwapped(t!))
        : `${names[0]}: has no two halves, its shape is [${shape}]`;
    case 'fused': {
      const shares = group.pair.shares ?? names.map(() => 1);
      const rows = others.reduce((n, other) => n + (other[0] ?? 0), 0);
      const whole = [rows, ...shape.slice(1)];
      const expected = partShapes(whole, shares);
      if (expected === undefined || String(expected) !== String(others)) {
        return `${names.join(', ')}: [${others.join('], [')}] cannot be stacked ${shares.join(' : ')}`;
      }
      return single(whole, stack);
    }
  }
}

async function readAll(source: WeightSource, names: readonly string[]): Promise<HostTensor[]> {
  const tensors: HostTensor[] = [];
  for (const name of names) tensors.push(await source.read(name));
  return tensors;
}

/** Keeps a fused tensor until each of its parts was asked for, so that loading reads it once. */
function readOnceFor(parts: number, read: () => Promise<HostTensor>): () => Promise<HostTensor> {
  let kept: Promise<HostTensor> | undefined;
  let left = parts;
  return () => {
    kept ??= read();
    const tensor = kept;
    if (--left === 0) {
      kept = undefined;
      left = parts;
    }
    return tensor;
  };
}

function shorten(problems: readonly string[]): readonly string[] {
  return problems.length <= 40 ? problems : [...problems.slice(0, 40), `… and ${problems.length - 40} more`];
}
