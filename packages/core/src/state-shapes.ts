import { InvalidArgumentError } from './errors.js';
import type { WeightSource } from './host-tensor.js';
import { NameTree } from './name-tree.js';

/** Reads a configuration off the names and shapes of a state dict, as far as they say it. */
export class StateShapes {
  readonly #tensors: WeightSource['tensors'];
  readonly #names: NameTree;
  readonly #problems: string[] = [];

  constructor(tensors: WeightSource['tensors']) {
    this.#tensors = tensors;
    this.#names = new NameTree(tensors.keys());
  }

  /** True when a name is, or begins with, `beginning`. */
  has(beginning: string): boolean {
    return this.#names.has(beginning);
  }

  /** How many of `prefix.0`, `prefix.1`, … there are without a gap. */
  count(prefix: string): number {
    return this.#names.count(prefix);
  }

  /** The length of an axis of a tensor; 0, and a problem for `check`, where there is none. */
  axis(name: string, axis: number): number {
    const size = this.#tensors.get(name)?.shape[axis];
    if (size === undefined)
      this.#problems.push(`${name}: expected a tensor with an axis ${axis}, got ${this.#got(name)}`);
    return size ?? 0;
  }

  /** How many axes a tensor has; 0 where there is none. */
  rank(name: string): number {
    return this.#tensors.get(name)?.shape.length ?? 0;
  }

  /** Throws an InvalidArgumentError with every axis that was asked for and is not there. */
  check(who: string): void {
    const problems = [...new Set(this.#problems)];
    if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  }

  #got(name: string): string {
    const shape = this.#tensors.get(name)?.shape;
    return shape === undefined ? 'none' : `[${shape.join(', ')}]`;
  }
}
