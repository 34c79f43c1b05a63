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
  /** What `__setstate__` or `__dict__` would have got. */
  state: unknown = undefined;
  /** What was set by key: the object is some kind of dict. */
  readonly entries = new Map<unknown, unknown>();
  /** What was appended: the object is some kind of list. */
  readonly elements: unknown[] = [];
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
