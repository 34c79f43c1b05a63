import type { LayoutKind, WeightFile } from '@mezzotint/weights';

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
