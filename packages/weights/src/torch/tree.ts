import { InvalidFileError, readingBudget } from '@mezzotint/core';
import { PickleObject } from '../pickle/values.js';
import { NestedTensor } from './meaning.js';
import { TorchTensor } from './tensors.js';

/** A tensor of a pickle. */
export type AnyTensor = TorchTensor | NestedTensor;

/**
 * What may be spent on looking through a pickle, one a value and one a letter of a tensor's name: beyond this a small
 * file that refers to itself over and over would cost too much. The longest honest ones spend a tenth of their size.
 */
export const budgetOf = (fileSize: number): Budget => ({ left: Math.min(2 ** 20 + 8 * fileSize, 2 ** 25) });

/** Names under which checkpoints keep weights, averaged ones first. */
const WEIGHT_PARTS = [
  'ema',
  'params_ema',
  'model_ema',
  'ema_state_dict',
  'state_dict',
  'model_state_dict',
  'model',
  'params',
  'net',
  'module',
];

/** What torch's parallel and compiled modules put before every name of the module inside them. */
const WRAPPERS = ['module.', '_orig_mod.'];

/** Most of them around each other that are looked for: a compiled module in a parallel one has two. */
const MOST_WRAPPERS = 4;

export interface Budget {
  left: number;
}

/** The tensors below a value by dotted path, through dicts, lists and unexecuted modules. */
function collectTensors(file: string, root: unknown, budget: Budget): Map<string, AnyTensor> {
  const found = new Map<string, AnyTensor>();
  const spend = (cost: number) => {
    budget.left -= cost;
    if (budget.left < 0) throw new InvalidFileError(file, 'its pickle refers to the same values over and over');
  };
  const visit = (value: unknown, path: string, depth: number): void => {
    spend(1);
    if (depth > readingBudget.pickleDepth) {
      throw new InvalidFileError(file, `its pickle is nested deeper than ${readingBudget.pickleDepth}`);
    }
    if (value instanceof TorchTensor || value instanceof NestedTensor) {
      spend(path.length);
      if (found.has(path)) throw new InvalidFileError(file, `two tensors of its pickle are named ${path}`);
      found.set(path, value);
      return;
    }
    for (const [key, child] of children(value)) visit(child, path === '' ? key : `${path}.${key}`, depth + 1);
  };
  visit(root, '', 0);
  return found;
}

/** What a checkpoint's value holds: its parts with tensors, and the one that is its weights. */
export interface CheckpointParts {
  /** Top-level keys that hold tensors; empty when the checkpoint is a plain state dict. */
  readonly parts: readonly string[];
  /** The part that was taken; '' for the whole. */
  readonly part: string;
  readonly tensors: ReadonlyMap<string, AnyTensor>;
}

/**
 * Takes the weights out of a checkpoint: the part asked for, else the averaged weights, else the trained ones, else all
 * of it; without the names of modules around it (`module.`, `_orig_mod.`), unless all of it was asked for with full paths.
 * Throws an InvalidFileError when `part` is not there.
 */
export function chooseWeights(
  file: string,
  fileSize: number,
  root: unknown,
  wanted: string | undefined,
): CheckpointParts {
  const budget = budgetOf(fileSize);
  const groups = new Map<string, Map<string, AnyTensor>>();
  for (const [name, child] of dictEntries(root) ?? []) {
    const key = keyName(name);
    if (child instanceof TorchTensor || child instanceof NestedTensor) continue;
    const tensors = collectTensors(file, child, budget);
    if (tensors.size > 0) groups.set(key, tensors);
  }
  const parts = [...groups.keys()];
  if (wanted !== undefined && wanted !== '') {
    const tensors = groups.get(wanted);
    if (tensors === undefined) {
      throw new InvalidFileError(
        file,
        `has no part ${JSON.stringify(wanted)} with tensors; it has: ${parts.join(', ') || 'none'}`,
      );
    }
    return { parts, part: wanted, tensors: unwrapped(tensors) };
  }
  if (wanted === '') return { parts, part: wanted, tensors: collectTensors(file, root, budget) };
  const part = WEIGHT_PARTS.find((name) => groups.has(name)) ?? '';
  return { parts, part, tensors: unwrapped(groups.get(part) ?? collectTensors(file, root, budget)) };
}

/** The names of the module inside `DistributedDataParallel`, `DataParallel` or `torch.compile`, where all have theirs before them. */
function unwrapped(tensors: ReadonlyMap<string, AnyTensor>): ReadonlyMap<string, AnyTensor> {
  const names = [...tensors.keys()];
  let start = 0;
  for (let depth = 0; depth < MOST_WRAPPERS; depth++) {
    const wrapper = WRAPPERS.find((prefix) => names.every((name) => name.startsWith(prefix, start)));
    start += wrapper?.length ?? 0;
  }
  return start === 0 ? tensors : new Map([...tensors].map(([name, tensor]) => [name.slice(start), tensor]));
}

/** The entries of a dict, or of an object that is some kind of dict (EDM's `EasyDict`). */
export function dictEntries(value: unknown): ReadonlyMap<unknown, unknown> | undefined {
  if (value instanceof Map) return value;
  return value instanceof PickleObject && value.entries.size > 0 ? value.entries : undefined;
}

/** A dict's key in a path. Tuples as keys are spelled one deep: a short pickle can nest them to any length. */
export function keyName(key: unknown): string {
  if (Array.isArray(key))
    return key
      .slice(0, 8)
      .map((part) => (typeof part === 'object' ? '' : String(part)))
      .join();
  return typeof key === 'object' && key !== null ? key.constructor.name : String(key);
}

export function* children(value: unknown): Iterable<[string, unknown]> {
  const entries = dictEntries(value);
  if (entries !== undefined) for (const [key, child] of entries) yield [keyName(key), child];
  const elements: unknown = value instanceof PickleObject ? value.elements : value;
  if (Array.isArray(elements)) for (let i = 0; i < elements.length; i++) yield [String(i), elements[i]];
  if (value instanceof PickleObject) yield* moduleChildren(value);
}

/** A torch module that was not executed: its `__dict__` is its state, or in the arguments of EDM's persistence. */
function* moduleChildren(object: PickleObject): Iterable<[string, unknown]> {
  const fields = dictEntries(object.state) ?? persistentState(object.args);
  if (fields === undefined) return;
  for (const field of ['_parameters', '_buffers', '_modules']) {
    for (const [key, child] of dictEntries(fields.get(field)) ?? []) yield [keyName(key), child];
  }
}

/** EDM pickles a module as the arguments of a function: one dict with the source code, the class and the state. */
function persistentState(args: unknown): ReadonlyMap<unknown, unknown> | undefined {
  return dictEntries(persistenceRecord(args)?.get('state'));
}

/** That dict. */
export function persistenceRecord(args: unknown): ReadonlyMap<unknown, unknown> | undefined {
  return dictEntries(Array.isArray(args) ? args[0] : undefined);
}
