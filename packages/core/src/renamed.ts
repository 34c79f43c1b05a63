import type { KeptType, WeightSource } from './host-tensor.js';

/** A source under other names; a tensor whose new name is undefined is not part of it. */
export function renamed(source: WeightSource, rename: (name: string) => string | undefined): WeightSource {
  const original = new Map<string, string>();
  for (const name of source.tensors.keys()) {
    const newName = rename(name);
    if (newName !== undefined) original.set(newName, name);
  }
  return {
    name: source.name,
    tensors: new Map([...original].map(([newName, name]) => [newName, source.tensors.get(name)!])),
    read: (name) => source.read(original.get(name) ?? name),
    ...(source.take && {
      take: (name: string, keep?: readonly KeptType[]) => source.take!(original.get(name) ?? name, keep),
    }),
  };
}
