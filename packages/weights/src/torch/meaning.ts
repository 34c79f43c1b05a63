import { InvalidFileError } from '@mezzotint/core';
import type { PickleMeaning } from '../pickle/machine.js';
import { PickleBytes, PickleGlobal } from '../pickle/values.js';
import { TORCH_DTYPES, TorchStorage, TorchTensor } from './tensors.js';

/** A storage that stands inside the pickle as a torch file of its own (plain pickles of modules, such as EDM's). */
export class NestedTorchFile {
  constructor(readonly bytes: Uint8Array | PickleBytes) {}
}

/** A tensor whose storage is in a NestedTorchFile. */
export class NestedTensor {
  constructor(
    readonly file: NestedTorchFile,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** Counts what calls copy, so that a short pickle that calls over and over on one long value does not fill the memory. */
type Copied = (values: number) => void;

/** What a call of a known global stands for. */
type Rebuild = (file: string, args: readonly unknown[], copied: Copied) => unknown;

/** The globals of torch's own files that are understood: the whole allow-list. */
const REBUILDS: Readonly<Record<string, Rebuild>> = {
  'collections.OrderedDict': orderedDict,
  'torch._utils._rebuild_tensor': (file, [storage, offset, shape, strides]) =>
    view(file, storage, offset, shape, strides),
  'torch._utils._rebuild_tensor_v2': (file, [storage, offset, shape, strides, , , metadata]) =>
    view(file, storage, offset, shape, strides, undefined, metadata),
  'torch._utils._rebuild_tensor_v3': (file, [storage, offset, shape, strides, , , dtype, metadata]) =>
    view(file, storage, offset, shape, strides, dtype, metadata),
  'torch._utils._rebuild_parameter': (_, [data]) => data,
  'torch._utils._rebuild_parameter_with_state': (_, [data]) => data,
  'torch._tensor._rebuild_from_type_v2': (file, [rebuild, , args], copied) =>
    rebuild instanceof PickleGlobal && rebuild.path.startsWith('torch._utils._rebuild') && Array.isArray(args)
      ? REBUILDS[rebuild.path]?.(file, args, copied)
      : undefined,
  'torch.storage._load_from_bytes': (file, [bytes]) => {
    if (bytes instanceof Uint8Array || bytes instanceof PickleBytes) return new NestedTorchFile(bytes);
    throw new InvalidFileError(file, 'a storage inside the pickle has no bytes');
  },
  '_codecs.encode': (_, [text, encoding], copied) => {
    if (typeof text !== 'string' || encoding !== 'latin1') return undefined;
    copied(text.length);
    return Uint8Array.from(text, (c) => c.charCodeAt(0));
  },
  'torch.Size': (_, [sizes]) => sizes,
};

/** Torch's own limit for tensors. */
const MAX_RANK = 64;

/** Globals that are named but never called. */
const NAMES = /^torch\.(?:storage\.)?(?:\w+Storage|device|[a-z]+\d*(?:_\w+)?)$/;

/**
 * What torch's pickles mean. `storage` makes of a persistent id what the file format says it is; `size` is that of the
 * pickle, or of the file around it.
 */
export function torchMeaning(file: string, size: number, storage: (id: readonly unknown[]) => unknown): PickleMeaning {
  let left = size;
  const copied: Copied = (values) => {
    left -= values;
    if (left < 0) throw new InvalidFileError(file, 'its pickle copies the same values over and over');
  };
  return {
    isKnown: ({ module, name, path }) =>
      Object.hasOwn(REBUILDS, path) ||
      (NAMES.test(path) && (Object.hasOwn(TORCH_DTYPES, name) || isStorageName(module, name))),
    call: ({ path }, args) => (Object.hasOwn(REBUILDS, path) ? REBUILDS[path]!(file, args, copied) : undefined),
    persistent: (id) => {
      // Legacy files put the source code of a module's class beside its name.
      if (Array.isArray(id) && id[0] === 'module' && id[1] instanceof PickleGlobal) return id[1];
      if (!Array.isArray(id) || id[0] !== 'storage') {
        throw new InvalidFileError(file, 'a persistent id of its pickle is no storage');
      }
      return storage(id);
    },
  };
}

/** The storage of a persistent id `('storage', type, key, location, elements)`. */
export function storageOf(file: string, [, type, key, , elements]: readonly unknown[]): TorchStorage {
  if (!(type instanceof PickleGlobal) || typeof key !== 'string' || !isSize(elements)) {
    throw new InvalidFileError(file, 'a storage of its pickle is malformed');
  }
  const untyped = type.name === 'UntypedStorage';
  return new TorchStorage(key, untyped ? undefined : (TORCH_DTYPES[type.name] ?? type.name), elements);
}

function isStorageName(module: string, name: string): boolean {
  return name === 'UntypedStorage' || name === 'device' || (module === 'torch.storage' && name === 'TypedStorage');
}

function view(
  file: string,
  storage: unknown,
  offset: unknown,
  shape: unknown,
  strides: unknown,
  dtype?: unknown,
  metadata?: unknown,
): unknown {
  if (!isSize(offset) || !isSizes(shape) || !isSizes(strides) || shape.length !== strides.length) {
    throw new InvalidFileError(file, 'the shape or the strides of a tensor are malformed');
  }
  // Lazily conjugated or negated views hold other numbers than their storage does.
  if (metadata instanceof Map && (metadata.get('neg') === true || metadata.get('conj') === true)) return undefined;
  if (storage instanceof NestedTorchFile) return new NestedTensor(storage, offset, shape, strides);
  if (!(storage instanceof TorchStorage)) throw new InvalidFileError(file, 'a tensor has no storage');
  const named = dtype instanceof PickleGlobal ? (TORCH_DTYPES[dtype.name] ?? dtype.name) : undefined;
  return new TorchTensor(storage, named ?? storage.dtype ?? 'unknown', offset, shape, strides);
}

function orderedDict(file: string, [pairs = []]: readonly unknown[], copied: Copied): Map<unknown, unknown> {
  if (pairs instanceof Map) {
    copied(pairs.size);
    return new Map(pairs);
  }
  if (Array.isArray(pairs)) {
    copied(pairs.length);
    if (pairs.every((pair): pair is [unknown, unknown] => Array.isArray(pair) && pair.length === 2)) {
      return new Map(pairs);
    }
  }
  throw new InvalidFileError(file, 'a dict of its pickle is malformed');
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length <= MAX_RANK && value.every(isSize);
}
