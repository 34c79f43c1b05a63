import type { NativeSession } from '../native/binding.js';
import type { ProgramPlan } from './program.js';

export interface Program {
  readonly plan: Omit<ProgramPlan, 'graph'> & { readonly graph: ProgramPlan['graph'] };
  /** Absent where nothing has to be computed (views and constants). */
  readonly session: NativeSession | undefined;
}

/** What the programs of a cache may come to together. */
export interface CacheLimits {
  readonly programs: number;
  readonly nodes: number;
  /** Elements of all values of all programs: a session keeps the memory of its largest run. */
  readonly elements: number;
}

/** Compiled programs by key; the least recently used are disposed when all together pass a limit. */
export class ProgramCache {
  readonly #programs = new Map<string, Program>();
  #nodes = 0;
  #elements = 0;
  hits = 0;
  misses = 0;

  constructor(readonly limits: CacheLimits) {}

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
    const before = this.#programs.get(key);
    if (before !== undefined) this.#forget(key, before);
    this.#programs.set(key, program);
    this.#nodes += program.plan.graph.nodes.length;
    this.#elements += program.plan.elements;
    for (const [oldest, old] of this.#programs) {
      if (oldest === key || !this.#full) break;
      this.#forget(oldest, old);
    }
  }

  #forget(key: string, { plan, session }: Program): void {
    this.#programs.delete(key);
    this.#nodes -= plan.graph.nodes.length;
    this.#elements -= plan.elements;
    session?.dispose();
  }

  all(): readonly Program[] {
    return [...this.#programs.values()];
  }

  clear(): void {
    for (const { session } of this.#programs.values()) session?.dispose();
    this.#programs.clear();
    this.#nodes = 0;
    this.#elements = 0;
  }

  get #full(): boolean {
    const { programs, nodes, elements } = this.limits;
    return this.#programs.size > programs || this.#nodes > nodes || this.#elements > elements;
  }
}
