import { type HostTensor, InvalidFileError, type WeightSource } from '@mezzotint/core';
import type { StrictJson } from '../json/strict-json.js';
import { readJsonTensor, type Scheme } from './scheme.js';

/** Endings of the tensors that bitsandbytes puts beside a weight of 4 bits. */
export const FOUR_BIT_PARTS = ['absmax', 'quant_map', 'nested_absmax', 'nested_quant_map'] as const;

/** Where bitsandbytes describes a weight: `<weight>.quant_state.bitsandbytes__nf4`. */
export const QUANT_STATE = /\.quant_state\.bitsandbytes__(nf4|fp4)$/;

/**
 * A weight that bitsandbytes stored in 4 bits: codes of a table of 16 numbers, two a byte, the first in the high half, in
 * blocks with one largest magnitude each. Those are themselves codes of a table where they are nested. Dettmers et al.
 * 2023 (QLoRA), section 3.
 */
export async function fourBitScheme(source: WeightSource, weight: string, state: string): Promise<Scheme> {
  const json = await readJsonTensor(source, state);
  const read = (key: string): StrictJson | undefined => json.get(key);
  const shape = read('shape');
  const blocksize = read('blocksize');
  const fail = (problem: string): never => {
    throw new InvalidFileError(source.name, `${state}: ${problem}`);
  };
  if (!isSizes(shape)) return fail(`expected a shape, got ${JSON.stringify(shape)}`);
  if (!isBlock(blocksize)) return fail(`expected a blocksize, got ${JSON.stringify(blocksize)}`);
  const count = shape.reduce((n, d) => n * d, 1);
  const size = (part: string) => source.tensors.get(`${weight}.${part}`)?.shape.reduce((n, d) => n * d, 1);
  const blocks = Math.ceil(count / blocksize);
  const bytes = source.tensors.get(weight)?.shape.reduce((n, d) => n * d, 1) ?? 0;
  const codesType = source.tensors.get(weight)?.dtype;
  if (codesType !== 'U8' || bytes !== Math.ceil(count / 2)) {
    fail(`[${shape}] takes ${Math.ceil(count / 2)} bytes, ${weight} has ${bytes} of ${codesType}`);
  }
  if (size('quant_map') !== 16) fail(`expected 16 numbers as ${weight}.quant_map, got ${size('quant_map')}`);
  if (size('absmax') !== blocks) fail(`expected ${blocks} numbers as ${weight}.absmax, got ${size('absmax')}`);
  const nested = source.tensors.has(`${weight}.nested_absmax`);
  const nestedBlock = read('nested_blocksize');
  const offset = read('nested_offset');
  if (nested) {
    if (!isBlock(nestedBlock) || typeof offset !== 'number') return fail('expected nested_blocksize and nested_offset');
    if (size('nested_quant_map') !== 256) fail(`expected 256 numbers as ${weight}.nested_quant_map`);
    if (size('nested_absmax') !== Math.ceil(blocks / nestedBlock)) fail(`${weight}.nested_absmax has the wrong size`);
  }
  return {
    kind: 'bitsandbytes 4 bits',
    shape,
    read: async () => {
      const codes = (await source.read(weight)).data;
      const table = (await source.read(`${weight}.quant_map`)).data;
      const stored = (await source.read(`${weight}.absmax`)).data;
      const largest = nested ? await unnested(source, weight, stored, nestedBlock as number, offset as number) : stored;
      const data = new Float32Array(count);
      for (let i = 0; i < count; i++) {
        const byte = codes[i >> 1]!;
        data[i] = table[i % 2 === 0 ? byte >> 4 : byte & 15]! * largest[Math.floor(i / blocksize)]!;
      }
      return { shape, data };
    },
  };
}

async function unnested(
  source: WeightSource,
  weight: string,
  codes: HostTensor['data'],
  block: number,
  offset: number,
): Promise<Float32Array> {
  const table = (await source.read(`${weight}.nested_quant_map`)).data;
  const largest = (await source.read(`${weight}.nested_absmax`)).data;
  return Float32Array.from(codes, (code, i) => Math.fround(table[code]! * largest[Math.floor(i / block)]!) + offset);
}

function isSizes(value: StrictJson | undefined): value is readonly number[] {
  return (
    Array.isArray(value) &&
    value.every((d) => Number.isSafeInteger(d) && (d as number) >= 0) &&
    Number.isSafeInteger(value.reduce<number>((n, d) => n * (d as number), 1))
  );
}

function isBlock(value: StrictJson | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}
