import type { Module, WeightSource } from '@mezzotint/core';
import type { LayoutKind, WeightFile } from '@mezzotint/weights';
import type { OpenOptions } from '../../options.js';

/** How a file stores its tensors, for people: `GGUF in ComfyUI-GGUF's dialect, 464 F32, 312 Q4_0`. */
export function storageOf(file: WeightFile, layout: LayoutKind): string {
  return [dialectOf(file, layout), countsOf(file)].filter(Boolean).join(', ');
}

/** Whose way of naming tensors it is. */
function dialectOf({ tensors, metadata }: WeightFile, layout: LayoutKind): string {
  const names = [...tensors.keys()];
  const architecture = metadata.get('general.architecture');
  if (architecture !== undefined || [...tensors.values()].some(({ dtype }) => /^Q\d/.test(dtype))) {
    const writer =
      layout === 'gguf' ? 'llama.cpp' : architecture === undefined ? 'stable-diffusion.cpp' : 'ComfyUI-GGUF';
    return `GGUF in ${writer}'s dialect`;
  }
  const begins = (prefix: string) => names.some((name) => name.startsWith(prefix));
  if (begins('text_encoders.') || begins('vae.')) return "a checkpoint in ComfyUI's dialect";
  if (begins('model.diffusion_model.') && !begins('first_stage_model.')) return "a transformer in ComfyUI's dialect";
  return layout === 'original' ? 'original names' : `names of ${layout}`;
}

/** How many tensors there are of each type, most first; quantised ones by what they are, not by what they are shown as. */
function countsOf(file: WeightFile & { readonly quantized?: ReadonlyMap<string, number> }): string {
  const counts = new Map<string, number>();
  for (const { dtype } of file.tensors.values()) counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  for (const [kind, count] of file.quantized ?? []) {
    counts.set('F32', (counts.get('F32') ?? 0) - count);
    counts.set(kind, count);
  }
  return [...counts]
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1])
    .map(([dtype, count]) => `${count} ${dtype}`)
    .join(', ');
}

/** A file that may hold weights which other tools quantised, shown as float32: how many, by their kind. */
interface MaybeQuantized {
  readonly quantized?: ReadonlyMap<string, number>;
}

/**
 * What becomes of the quantised weights of a part, for people: `21 Q4_0 are computed with as stored; 3 Q6_K are widened to
 * float32`. Undefined where it has none.
 */
export function keepingOf(
  { tensors }: WeightSource,
  { quantized = new Map() }: MaybeQuantized,
  module: Module,
  weights: OpenOptions['weights'],
): string | undefined {
  const params = module.params();
  const becomes = weights === undefined || weights === 'stored' ? 'widened to float32' : `brought to ${weights}`;
  const fates = new Map<string, Map<string, number>>();
  const add = (fate: string, type: string, count: number) => {
    const types = fates.get(fate) ?? new Map<string, number>();
    types.set(type, (types.get(type) ?? 0) + count);
    fates.set(fate, types);
  };
  for (const [name, { dtype }] of tensors) {
    if (!/^(?:Q\d|F8_)/.test(dtype)) continue;
    const stays = KEPT_BLOCKS[dtype]?.includes(weights) && params.get(name)?.matrix;
    add(stays ? 'computed with as stored' : becomes, dtype, 1);
  }
  for (const [kind, count] of quantized) add(becomes, kind, count);
  if (fates.size === 0) return undefined;
  return [...fates]
    .map(([fate, types]) => `${[...types].map(([type, count]) => `${count} ${type}`).join(', ')} are ${fate}`)
    .join('; ');
}

/** Blocks that the engine computes with as they are, by the options with which it does. */
const KEPT_BLOCKS: Readonly<Record<string, readonly OpenOptions['weights'][]>> = {
  Q4_0: ['stored', 'int4'],
  Q8_0: ['stored', 'int8'],
};
