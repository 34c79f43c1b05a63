import { InvalidFileError, parseJson } from '@mezzotint/core';
import { PickleObject } from '../pickle/values.js';
import type { WeightFile } from '../weight-file.js';
import { budgetOf, dictEntries, keyName, persistenceRecord } from './tree.js';

/** A JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a persistence record of EDM's says of a module beside its state: how it was constructed. */
export interface ModuleRecord {
  /** Name of its class, for example `Precond` or `EDMPrecond`. */
  readonly className: string;
  /** Arguments of its constructor by position and by name; what is no JSON value (arrays, tensors) is null. */
  readonly args: readonly Json[];
  readonly kwargs: { readonly [key: string]: Json };
}

/** Longest text and deepest nesting of an argument that is read. */
const MAX_ARGUMENT = 4096;
const MAX_ARGUMENT_DEPTH = 8;

/**
 * The records of a checkpoint's top-level parts that are modules of EDM's persistence. Of such a record the class's name and the
 * constructor's arguments are read; the source code that stands in it never is.
 */
export function moduleRecords(file: string, fileSize: number, root: unknown): ReadonlyMap<string, ModuleRecord> {
  const budget = budgetOf(fileSize);
  const json = (value: unknown, depth = 0): Json => {
    if (--budget.left < 0) throw new InvalidFileError(file, 'its pickle refers to the same values over and over');
    if (depth > MAX_ARGUMENT_DEPTH) return null;
    if (typeof value === 'string') return value.length <= MAX_ARGUMENT ? value : null;
    if (typeof value === 'number') return Number.isFinite(value) ? value : null;
    if (typeof value === 'boolean' || value === null) return value;
    if (Array.isArray(value)) return value.map((item) => json(item, depth + 1));
    const entries = dictEntries(value);
    if (entries === undefined) return null;
    return Object.fromEntries([...entries].map(([key, item]) => [keyName(key), json(item, depth + 1)]));
  };
  const records = new Map<string, ModuleRecord>();
  for (const [name, child] of dictEntries(root) ?? []) {
    const meta = child instanceof PickleObject ? persistenceRecord(child.args) : undefined;
    const className = meta?.get('class_name');
    const state = dictEntries(meta?.get('state'));
    if (typeof className !== 'string' || className.length > MAX_ARGUMENT || state === undefined) continue;
    const args = json(state.get('_init_args') ?? []);
    const kwargs = json(state.get('_init_kwargs') ?? new Map());
    records.set(keyName(name), {
      className,
      args: Array.isArray(args) ? (args as readonly Json[]) : [],
      kwargs: (typeof kwargs === 'object' && !Array.isArray(kwargs) ? kwargs : null) ?? {},
    } as ModuleRecord);
  }
  return records;
}

/** The key of the records in the metadata of a converted file. */
const METADATA = 'modules';

/** Records as metadata of a safetensors file, which {@link modulesOf} reads. */
export function modulesAsMetadata(modules: ReadonlyMap<string, ModuleRecord>): Record<string, string> {
  return modules.size === 0 ? {} : { [METADATA]: JSON.stringify(Object.fromEntries(modules)) };
}

/**
 * How the modules of a snapshot of EDM or EDM2 were constructed, by part: of a `.pkl` file, or of the safetensors file that it was
 * converted to. Empty for other files.
 *
 * @throws InvalidFileError when the metadata is malformed
 */
export function modulesOf(file: WeightFile): ReadonlyMap<string, ModuleRecord> {
  const { modules } = file as { readonly modules?: ReadonlyMap<string, ModuleRecord> };
  const text = file.metadata.get(METADATA);
  if (modules !== undefined || text === undefined) return modules ?? new Map();
  const parsed = parsedJson(text);
  const isDict = (value: unknown): value is { readonly [key: string]: Json } =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  const fits = (record: unknown): record is ModuleRecord =>
    isDict(record) && typeof record.className === 'string' && Array.isArray(record.args) && isDict(record.kwargs);
  if (!isDict(parsed) || !Object.values(parsed).every(fits)) {
    throw new InvalidFileError(file.name, `the metadata '${METADATA}' is not a list of modules and their arguments`);
  }
  return new Map(Object.entries(parsed as unknown as Record<string, ModuleRecord>));
}

/** Undefined for what is no JSON. */
function parsedJson(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}
