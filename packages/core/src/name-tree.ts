/** The names of a checkpoint and all their beginnings up to a dot. */
export class NameTree {
  readonly #beginnings = new Set<string>();

  constructor(names: Iterable<string>) {
    for (const name of names) {
      for (let at = name.indexOf('.'); at !== -1; at = name.indexOf('.', at + 1))
        this.#beginnings.add(name.slice(0, at));
      this.#beginnings.add(name);
    }
  }

  /** True when a name is, or begins with, `beginning`. */
  has(beginning: string): boolean {
    return this.#beginnings.has(beginning);
  }

  /** How many of `prefix.0`, `prefix.1`, … there are without a gap. */
  count(prefix: string): number {
    let n = 0;
    while (this.has(`${prefix}.${n}`)) n++;
    return n;
  }
}
