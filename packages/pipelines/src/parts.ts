import { InvalidArgumentError, type Module, type WeightSource } from '@mezzotint/core';
import type { Part } from './stage.js';

/** Reads the weights of a module: `module.load`, or an engine's own way of keeping them in fewer bits. */
export type LoadPart = (module: Module, weights: WeightSource) => Promise<unknown>;

/** The parts of a pipeline: which are loaded, and how to load or free them. */
export class Parts {
  private readonly loaded = new Set<string>();
  private readonly byName: ReadonlyMap<string, Part>;

  constructor(
    parts: readonly Part[],
    private readonly load: LoadPart = (module, weights) => module.load(weights),
  ) {
    this.byName = new Map(parts.map((part) => [part.name, part]));
  }

  /** Loads those that are not yet; says how many tensors are read. */
  async need(names: readonly string[], progress: (done: number, total: number) => void): Promise<void> {
    const missing = [...new Set(names)].filter((name) => !this.loaded.has(name)).map((name) => this.part(name));
    const total = missing.reduce((sum, { module }) => sum + module.params().size, 0);
    let read = 0;
    for (const { name, module, weights } of missing) {
      await this.load(
        module,
        watched(weights, () => progress(++read, total)),
      );
      this.loaded.add(name);
    }
  }

  /** Frees the weights of parts; they are loaded again when needed. */
  free(names: Iterable<string>): void {
    for (const name of names) {
      if (!this.loaded.delete(name)) continue;
      this.part(name).module.dispose();
    }
  }

  /** Frees all. */
  dispose(): void {
    this.free([...this.loaded]);
  }

  private part(name: string): Part {
    const part = this.byName.get(name);
    if (part === undefined) throw new InvalidArgumentError('pipeline', `has no part ${name}`);
    return part;
  }
}

/** A source that says when a tensor of it is read. */
function watched(source: WeightSource, onRead: () => void): WeightSource {
  return {
    name: source.name,
    tensors: source.tensors,
    read: (name) => {
      onRead();
      return source.read(name);
    },
    // What can be given away without a copy still is.
    ...(source.take && {
      take: (name, keep) => {
        onRead();
        return source.take!(name, keep);
      },
    }),
  };
}
