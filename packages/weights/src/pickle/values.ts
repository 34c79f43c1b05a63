/** A name that a pickle refers to. It is only ever compared, never looked up or called. */
export class PickleGlobal {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}

  /** `module.name`. */
  get path(): string {
    return `${this.module}.${this.name}`;
  }
}

/** What a pickle would have made by calling `type`: the ingredients, uncalled. */
export class PickleObject {
  state: unknown = undefined;
  constructor(
    readonly type: PickleGlobal,
    readonly args: unknown,
  ) {}
}

/** Bytes of a pickle that are left in the file because they are many. */
export class PickleBytes {
  constructor(
    readonly offset: number,
    readonly length: number,
  ) {}
}
