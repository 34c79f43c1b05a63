import { renamed, type WeightSource } from '@mezzotint/core';

/** The tensors of a source whose names begin with `prefix`, without it. */
export function withoutPrefix(source: WeightSource, prefix: string): WeightSource {
  return renamed(source, (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : undefined));
}
