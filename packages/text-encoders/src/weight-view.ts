import type { WeightSource } from '@mezzotint/core';

/** A source under other names; a tensor whose new name is undefined is left out. */
export function renamed(source: WeightSource, rename: (name: string) => string | undefined): WeightSource {
  const before = new Map<string, string>();
  for (const name of source.tensors.keys()) {
    const after = rename(name);
    if (after !== undefined) before.set(after, name);
  }
  return {
    name: source.name,
    tensors: new Map([...before].map(([after, name]) => [after, source.tensors.get(name)!])),
    read: (name) => source.read(before.get(name) ?? name),
  };
}
