import { InvalidArgumentError } from '@mezzotint/core';

/** A setting of a scheduler_config.json as JSON has it. */
export type Setting = null | boolean | number | string | readonly number[];
/** The settings that a class of diffusers has, with what it takes when they are absent. */
export type Defaults = Readonly<Record<string, Setting>>;

/**
 * The settings of one file as its class sees them: those that the class does not have are as if they were not in the file.
 * What is wrong is collected, so that it can be said all at once.
 */
export class Settings {
  readonly problems: string[] = [];

  constructor(
    private readonly given: Readonly<Record<string, unknown>>,
    private readonly defaults: Defaults,
  ) {}

  /**
   * A setting of the type of `absent`, which is taken when the class does not have it.
   *
   * @param allowed the values that we build, where not all of the type
   */
  read<T extends Setting>(key: string, absent: T, allowed?: readonly T[]): T {
    if (!Object.hasOwn(this.defaults, key)) return absent;
    const value = (this.given[key] ?? this.defaults[key]) as T;
    const fits = allowed === undefined ? typeof value === typeof absent : allowed.some((item) => isEqual(item, value));
    if (fits) return value;
    const expected = allowed?.map((item) => JSON.stringify(item)).join(' or ') ?? `a ${typeof absent}`;
    this.problems.push(`${key}: expected ${expected}, got ${JSON.stringify(value)}`);
    return allowed?.[0] ?? absent;
  }

  /** Settings that we build only as they are when absent. */
  refuse(...keys: readonly string[]): void {
    for (const key of keys) this.read(key, this.defaults[key] ?? null, [this.defaults[key] ?? null]);
  }

  /** A positive number that diffusers takes from the file whether its class has the setting or not; null when absent. */
  positive(key: string): number | null {
    const value = this.numberOrNull(key, this.given[key] ?? null);
    if (value === null || value > 0) return value;
    this.problems.push(`${key}: expected a positive number, got ${value}`);
    return null;
  }

  /** A number, or null. */
  number(key: string): number | null {
    return this.numberOrNull(key, Object.hasOwn(this.defaults, key) ? (this.given[key] ?? this.defaults[key]) : null);
  }

  /** Numbers, or null. */
  numbers(key: string): readonly number[] | null {
    if (!Object.hasOwn(this.defaults, key)) return null;
    const value = this.given[key] ?? this.defaults[key] ?? null;
    if (value === null || (Array.isArray(value) && value.every((item) => typeof item === 'number'))) return value;
    this.problems.push(`${key}: expected a list of numbers, got ${JSON.stringify(value).slice(0, 80)}`);
    return null;
  }

  private numberOrNull(key: string, value: unknown): number | null {
    if (value === null || typeof value === 'number') return value;
    this.problems.push(`${key}: expected a number, got ${JSON.stringify(value)}`);
    return null;
  }

  /** @throws InvalidArgumentError with everything that was wrong so far */
  check(who: string): void {
    if (this.problems.length > 0) throw new InvalidArgumentError(who, [...new Set(this.problems)]);
  }
}

/** Settings are plain JSON values. */
function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
