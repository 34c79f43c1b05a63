import { type KeptType, type Module, renamed, type WeightSource } from '@mezzotint/core';

/** The tensors of a source whose names begin with `prefix`, without it. */
export function withoutPrefix(source: WeightSource, prefix: string): WeightSource {
  return renamed(source, (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : undefined));
}

/**
 * A source whose tensors have the shapes of a model's parameters, where they differ in axes of length 1 only: GGUF files
 * drop such axes in front (`pos_embed`), and some tools keep linear weights as convolutions (`[O, I, 1, 1]`).
 */
export function withShapesOf(model: Pick<Module, 'params'>, source: WeightSource): WeightSource {
  const params = model.params();
  const shapeOf = (name: string): readonly number[] => {
    const { shape } = source.tensors.get(name)!;
    const wanted = params.get(name)?.fileShape;
    return wanted !== undefined && String(withoutOnes(wanted)) === String(withoutOnes(shape)) ? wanted : shape;
  };
  return {
    ...source,
    tensors: new Map([...source.tensors].map(([name, tensor]) => [name, { ...tensor, shape: shapeOf(name) }])),
    read: async (name) => ({ ...(await source.read(name)), shape: shapeOf(name) }),
    ...(source.take && {
      take: async (name: string, keep?: readonly KeptType[]) => ({
        ...(await source.take!(name, keep)),
        shape: shapeOf(name),
      }),
    }),
  };
}

function withoutOnes(shape: readonly number[]): readonly number[] {
  return shape.filter((size) => size !== 1);
}
