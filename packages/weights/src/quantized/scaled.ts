import { type HostTensor, InvalidFileError, sizeOf, type WeightSource } from '@mezzotint/core';
import type { StrictJson } from '../json/strict-json.js';
import { readJsonTensor, type Scheme } from './scheme.js';

/** What a layer's `comfy_quant` may say; absent for scaled 8-bit floats, which say nothing. */
const FORMATS = ['float8_e4m3fn', 'float8_e5m2', 'int8_tensorwise'];

/**
 * A weight whose elements are multiplied by one scale, or by one a row: ComfyUI's scaled 8-bit floats (`scale_weight`, later
 * `weight_scale`) and its INT8, whose rows may be rotated (ConvRot) in groups by a Hadamard matrix.
 */
export async function scaledScheme(
  source: WeightSource,
  weight: string,
  scale: string,
  description: string | undefined,
): Promise<Scheme> {
  const json: ReadonlyMap<string, StrictJson> =
    description === undefined ? new Map() : await readJsonTensor(source, description);
  const { shape, dtype } = source.tensors.get(weight)!;
  const fail = (problem: string): never => {
    throw new InvalidFileError(source.name, `${weight}: ${problem}`);
  };
  const format = json.get('format');
  if (format !== undefined && !FORMATS.includes(format as string)) {
    fail(`the quantisation ${JSON.stringify(format)} is not read (known: ${FORMATS.join(', ')})`);
  }
  const scales = sizeOf(source.tensors.get(scale)!.shape);
  if (scales !== 1 && scales !== shape[0]) fail(`expected 1 scale or one a row of [${shape}], got ${scales}`);
  const group = json.get('convrot') === true ? (json.get('convrot_groupsize') ?? 256) : 1;
  if (!isGroup(group) || (shape.at(-1) ?? 0) % group !== 0 || shape.length !== 2) {
    if (group !== 1) fail(`expected a convrot_groupsize that is a power of 4 and divides [${shape}], got ${group}`);
  }
  const kind = dtype === 'I8' ? (group === 1 ? 'int8' : 'int8 ConvRot') : 'scaled float8';
  return {
    kind,
    shape,
    read: async () => {
      const stored = (await source.read(weight)).data;
      const factors = (await source.read(scale)).data;
      const data = new Float32Array(stored.length);
      const row = scales === 1 ? stored.length : stored.length / scales;
      for (let i = 0; i < data.length; i++) data[i] = stored[i]! * factors[Math.floor(i / row)]!;
      if (group !== 1) rotate(data, group as number);
      return { shape, data } satisfies HostTensor;
    },
  };
}

function isGroup(group: StrictJson): group is number {
  return typeof group === 'number' && group >= 1 && Number.isInteger(Math.log2(group) / 2);
}

/**
 * Rotates each group of G = 4^n numbers by the n-th Kronecker power of the regular Hadamard matrix H4 = 1 - 2 P over 2, P
 * the permutation that turns the order round; it is its own inverse. In place.
 */
function rotate(data: Float32Array, group: number): void {
  const g = new Float64Array(group);
  for (let from = 0; from < data.length; from += group) {
    g.set(data.subarray(from, from + group));
    for (let stride = 1; stride < group; stride *= 4) {
      for (let at = 0; at < group; at += 4 * stride) {
        for (let i = at; i < at + stride; i++) {
          const [a, b, c, d] = [g[i]!, g[i + stride]!, g[i + 2 * stride]!, g[i + 3 * stride]!];
          const half = (a + b + c + d) / 2;
          g[i] = half - d;
          g[i + stride] = half - c;
          g[i + 2 * stride] = half - b;
          g[i + 3 * stride] = half - a;
        }
      }
    }
    data.set(g, from);
  }
}
