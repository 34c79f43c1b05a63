import type { HostTensor, KeptType, StoredTensor, WeightSource } from '@mezzotint/core';
import { FOUR_BIT_PARTS, fourBitScheme, QUANT_STATE } from './four-bit.js';
import { scaledScheme } from './scaled.js';
import type { Scheme } from './scheme.js';

/** A source whose quantised weights are shown as the weights themselves. */
export type Dequantized<S extends WeightSource> = S & {
  /** How many weights were stored in which way, for example `bitsandbytes 4 bits` -> 304. */
  readonly quantized: ReadonlyMap<string, number>;
};

/** Endings of tensors beside a weight that say by what it is multiplied. */
const SCALES = ['scale_weight', 'weight_scale'] as const;

/** Endings of tensors beside a scaled weight about activations, which are not rounded here. */
const OF_ACTIVATIONS = ['scale_input', 'input_scale'] as const;

/** ComfyUI's mark of a model whose weights are scaled 8-bit floats. */
const MARK = /(?:^|\.)scaled_fp8$/;

/** Element types that a scale belongs to. */
const SCALED_TYPES: readonly string[] = ['F8_E4M3', 'F8_E5M2', 'I8'];

/**
 * Shows weights that tools of the field store in several tensors as one tensor each, dequantised when it is read: ComfyUI's
 * scaled 8-bit floats and INT8 (also rotated, ConvRot), and 4 bits of bitsandbytes (NF4, FP4; nested scales too). What is
 * stored plainly stays as it is; a source that holds nothing quantised is given back unchanged but for the count.
 *
 * @throws InvalidFileError when the description of a weight is damaged, of an unknown kind, or does not fit its bytes
 */
export async function dequantized<S extends WeightSource>(source: S): Promise<Dequantized<S>> {
  const schemes = new Map<string, Scheme>();
  const helpers = new Set([...source.tensors.keys()].filter((name) => MARK.test(name)));
  const marked = helpers.size > 0;
  for (const name of source.tensors.keys()) {
    const weight = name.replace(QUANT_STATE, '');
    if (weight !== name) {
      helpers.add(name);
      for (const part of FOUR_BIT_PARTS) helpers.add(`${weight}.${part}`);
      schemes.set(weight, await fourBitScheme(source, weight, name));
      continue;
    }
    const ending = SCALES.find((end) => name.endsWith(`.${end}`));
    if (ending === undefined) continue;
    const layer = name.slice(0, -ending.length);
    const { dtype } = source.tensors.get(`${layer}weight`) ?? {};
    // Another network's parameter of this name is none of ours.
    if (dtype === undefined || !(SCALED_TYPES.includes(dtype) || marked)) continue;
    const description = source.tensors.has(`${layer}comfy_quant`) ? `${layer}comfy_quant` : undefined;
    for (const end of [ending, ...OF_ACTIVATIONS]) helpers.add(layer + end);
    if (description !== undefined) helpers.add(description);
    schemes.set(`${layer}weight`, await scaledScheme(source, `${layer}weight`, name, description));
  }
  if (helpers.size === 0) return { ...source, quantized: new Map() };
  const counts = new Map<string, number>();
  for (const { kind } of schemes.values()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const tensors: WeightSource['tensors'] = new Map(
    [...source.tensors].flatMap(([name, tensor]) => {
      if (helpers.has(name)) return [];
      const scheme = schemes.get(name);
      return [[name, scheme === undefined ? tensor : { shape: scheme.shape, dtype: 'F32' }] as const];
    }),
  );
  const read = async (name: string): Promise<HostTensor> => schemes.get(name)?.read() ?? source.read(name);
  return {
    ...source,
    tensors,
    quantized: counts,
    read,
    ...(source.take && {
      take: async (name: string, keep?: readonly KeptType[]): Promise<StoredTensor> =>
        schemes.has(name) ? ({ ...(await read(name)), dtype: 'float32' } as StoredTensor) : source.take!(name, keep),
    }),
  };
}
