import { type HostTensor, sizeOf, type WeightSource } from '@mezzotint/core';

/** A checkpoint of given names and shapes whose numbers are all different: element k of tensor i is 1000 i + k. */
export function numbered(shapes: Readonly<Record<string, readonly number[]>>, name = 'numbered'): WeightSource {
  const order = new Map(Object.keys(shapes).map((key, i) => [key, i]));
  return {
    name,
    tensors: new Map(Object.entries(shapes).map(([key, shape]) => [key, { shape, dtype: 'F32' }])),
    read: (key): HostTensor => {
      const shape = shapes[key]!;
      const base = 1000 * order.get(key)!;
      return { shape, data: Float32Array.from({ length: sizeOf(shape) }, (_, k) => base + k) };
    },
  };
}

/** Names and shapes of a source, sorted, for comparison. */
export function shapesOf(source: WeightSource): Record<string, readonly number[]> {
  return Object.fromEntries(
    [...source.tensors].map(([name, { shape }]) => [name, shape] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** All tensors of a source. */
export async function readAll(source: WeightSource): Promise<Record<string, HostTensor>> {
  const all: Record<string, HostTensor> = {};
  for (const name of source.tensors.keys()) all[name] = await source.read(name);
  return all;
}
