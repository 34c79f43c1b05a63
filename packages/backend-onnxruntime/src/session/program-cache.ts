import type { NativeSession } from '../native/binding.js';
import type { ProgramPlan } from './program.js';

export interface Program {
  readonly plan: Omit<ProgramPlan, 'graph'> & { readonly graph: ProgramPlan['graph'] };
  /** Absent where nothing has to be computed (views and constants). */
  readonly session: NativeSession | undefined;
}

/** Compiled programs by key; the least recently used are disposed when there are too many, or too many nodes in all. */
export class ProgramCache {
  readonly #programs = new Map<string, Program>();
  #nodes = 0;
  hits = 0;
  misses = 0;

  constructor(
    readonly maxPrograms: number,
    readonly maxNodes: number,
  ) {}

  get size(): number {
    return this.#programs.size;
  }

  get(key: string): Program | undefined {
    const found = this.#programs.get(key);
    if (found === undefined) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    this.#programs.delete(key);
    this.#programs.set(key, found);
    return found;
  }

  set(key: string, program: Program): void {
    this.#programs.set(key, program);
    this.#nodes += program.plan.graph.nodes.length;
    for (const [oldest, { plan, session }] of this.#programs) {
      if (oldest === key || (this.#programs.size <= this.maxPrograms && this.#nodes <= this.maxNodes)) break;
      this.#programs.delete(oldest);
      this.#nodes -= plan.graph.nodes.length;
      session?.dispose();
    }
  }

  all(): readonly Program[] {
    return [...this.#programs.values()];
  }

  clear(): void {
    for (const { session } of this.#programs.values()) session?.dispose();
    this.#programs.clear();
    this.#nodes = 0;
  }
}
