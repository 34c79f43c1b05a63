import type { ModuleCost } from '@mezzotint/core';

/** One level of a model: a module, or the list or object of modules that the path goes through (`input_blocks`). */
export interface Branch {
  /** The last part of the path; '' for the model. */
  readonly name: string;
  /** Class of the module; undefined for a list or an object. */
  readonly type: string | undefined;
  readonly parameters: number;
  readonly macs: number;
  readonly output: readonly number[] | undefined;
  readonly children: readonly Branch[];
}

/** The modules of a model, which come by path, as a tree. What is no module itself is the sum of what is below it. */
export function treeOf(modules: readonly ModuleCost[]): Branch {
  const root = new Level('');
  for (const module of modules) {
    let level = root;
    for (const part of module.path === '' ? [] : module.path.split('.')) level = level.child(part);
    level.module = module;
  }
  return root.branch();
}

class Level {
  module: ModuleCost | undefined;
  readonly #children = new Map<string, Level>();

  constructor(readonly name: string) {}

  child(name: string): Level {
    const level = this.#children.get(name) ?? new Level(name);
    this.#children.set(name, level);
    return level;
  }

  branch(): Branch {
    const children = [...this.#children.values()].map((level) => level.branch());
    const sum = (of: (branch: Branch) => number) => children.reduce((total, child) => total + of(child), 0);
    return {
      name: this.name,
      type: this.module?.type,
      parameters: this.module?.parameters ?? sum((branch) => branch.parameters),
      macs: this.module?.macs ?? sum((branch) => branch.macs),
      output: this.module?.output,
      children,
    };
  }
}
