import { InvalidArgumentError } from './errors.js';
import { named } from './printable.js';

/** What a configuration of another library may hold. */
export interface ForeignConfigKeys {
  /** Keys that are read, with their defaults; undefined means required. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Keys with the only value that we build; absent keys have it. */
  readonly fixed: Readonly<Record<string, unknown>>;
  /** Keys that change nothing that we compute. */
  readonly ignored: (key: string) => boolean;
  /** Keys whose value may be an object, which the reader checks itself; of all others none is. */
  readonly objects?: readonly string[];
}

/** What is done about keys that a class does not know. */
export interface ForeignConfigOptions {
  /** Told of each unknown key, in the place of the error; the key is passed over. */
  readonly report?: ((key: string) => void) | undefined;
}

/**
 * Reads a configuration of another library strictly: gives the lookup of its keys, absent ones as their defaults, after
 * checking that none is missing, unknown, or set to what we do not build.
 *
 * @param who who reads, for errors
 * @throws InvalidArgumentError naming every unknown (without `report`), missing or unsupported key
 */
export function foreignConfig(
  who: string,
  json: unknown,
  { defaults, fixed, ignored, objects: allowed = [] }: ForeignConfigKeys,
  { report }: ForeignConfigOptions = {},
): (key: string) => unknown {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidArgumentError(who, `expected a configuration as a JSON object, got ${JSON.stringify(json)}`);
  }
  const given = new Map(Object.entries(json).filter(([, value]) => value !== undefined));
  const unknown = [...given.keys()].filter(
    (key) => !Object.hasOwn(defaults, key) && !Object.hasOwn(fixed, key) && !ignored(key),
  );
  for (const key of unknown) report?.(key);
  // An object where none is meant, without a text of its own, would end arithmetic and messages in a TypeError.
  const read = (key: string) => (Object.hasOwn(defaults, key) || Object.hasOwn(fixed, key)) && !allowed.includes(key);
  const objects = [...given].filter(([key, value]) => read(key) && holdsObject(value)).map(([key]) => key);
  if (objects.length > 0) {
    throw new InvalidArgumentError(
      who,
      objects.map((key) => `${named(key)}: expected a number, a text or a list, got an object`),
    );
  }
  const problems = [
    ...(report ? [] : unknown).map((key) => `${key}: not an argument of this class`),
    ...Object.keys(defaults)
      .filter((key) => defaults[key] === undefined && !given.has(key))
      .map((key) => `${key}: missing, and it has no default`),
    ...Object.entries(fixed)
      .filter(([key, value]) => given.has(key) && given.get(key) !== value)
      .map(
        ([key, value]) =>
          `${key}: expected ${JSON.stringify(value)}, the only one that we build, got ${JSON.stringify(given.get(key))}`,
      ),
  ];
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  return (key) => (given.has(key) ? given.get(key) : defaults[key]);
}

/** Whether a JSON value is an object, or a list that has one inside. */
function holdsObject(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(holdsObject);
  return typeof value === 'object' && value !== null;
}
