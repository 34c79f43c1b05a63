import { InvalidFileError } from '@mezzotint/core';
import type { ByteSource } from '../bytes/byte-source.js';
import { sliceSource } from '../bytes/slice.js';
import { BYTES_PER_ELEMENT, isDType } from '../numbers/dtypes.js';
import { type Pickle, readPickle } from '../pickle/machine.js';
import { storageOf, torchMeaning } from './meaning.js';
import type { StorageBytes, TorchStorage } from './tensors.js';
import type { TorchContents } from './zip-file.js';

/** The first pickle of a legacy file is this number. */
const MAGIC = 0x1950_a86a_20f9_469c_fc6cn;

/** The second is this. */
const PROTOCOL_VERSION = 1001;

/**
 * Reads torch's format before 1.6, and plain pickles that hold torch modules (EDM's). Legacy: the pickles of a magic
 * number, a version, the writer's machine, the value and the list of storage keys; then each storage, its number of
 * elements as 8 bytes and its elements. Throws an InvalidFileError when it is neither.
 */
export async function readTorchLegacy(source: ByteSource): Promise<TorchContents> {
  const storages = new Map<string, TorchStorage>();
  const meaning = torchMeaning(source.name, source.size, (id) => {
    const view: unknown = id[5];
    if (view !== undefined && view !== null) {
      throw new InvalidFileError(
        source.name,
        'it was saved with views of storages (torch before 0.4); save it again with a newer torch',
      );
    }
    const storage = storageOf(source.name, id);
    storages.set(storage.key, storages.get(storage.key) ?? storage);
    return storages.get(storage.key);
  });
  const first = await readPickle(source, 0, meaning);
  if (first.value !== MAGIC) {
    if (storages.size > 0) throw new InvalidFileError(source.name, 'its pickle refers to storages that are not there');
    return { value: first.value, refused: first.refused, pickle: source, storages: NO_STORAGES };
  }
  const version = await readPickle(source, first.end, meaning);
  if (version.value !== PROTOCOL_VERSION) {
    throw new InvalidFileError(
      source.name,
      `expected version ${PROTOCOL_VERSION} of torch's legacy format, got ${typeof version.value === 'number' ? version.value : 'another value'}`,
    );
  }
  const system = await readPickle(source, version.end, meaning);
  const main = await readPickle(source, system.end, meaning);
  const keys = await readPickle(source, main.end, meaning);
  const places = await locateStorages(source, keys, storages);
  const open = async (storage: TorchStorage): Promise<ByteSource> => places.get(storage.key)!;
  return {
    value: main.value,
    refused: main.refused,
    pickle: source,
    storages: {
      littleEndian: !(system.value instanceof Map && system.value.get('little_endian') === false),
      open,
      readWhole: async (storage) => {
        const bytes = await open(storage);
        return bytes.read(0, bytes.size);
      },
    },
  };
}

const NO_STORAGES: StorageBytes = {
  littleEndian: true,
  open: () => Promise.reject(new InvalidFileError('pickle', 'it has no storages')),
  readWhole: () => Promise.reject(new InvalidFileError('pickle', 'it has no storages')),
};

/** Walks over the storages after the pickles. */
async function locateStorages(
  source: ByteSource,
  { value: keys, end }: Pickle,
  storages: ReadonlyMap<string, TorchStorage>,
): Promise<ReadonlyMap<string, ByteSource>> {
  const places = new Map<string, ByteSource>();
  let at = end;
  for (const key of Array.isArray(keys) ? (keys as unknown[]) : []) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (storage === undefined) throw new InvalidFileError(source.name, 'holds a storage that nothing refers to');
    const elements = Number(new DataView((await source.read(at, 8)).buffer).getBigInt64(0, true));
    if (elements !== storage.elements) {
      throw new InvalidFileError(
        source.name,
        `the storage ${storage.key} has ${elements} elements, its pickle says ${storage.elements}`,
      );
    }
    const size = elements * widthOf(source.name, storage);
    places.set(storage.key, sliceSource(source, at + 8, size));
    at += 8 + size;
  }
  for (const key of storages.keys()) {
    if (!places.has(key)) throw new InvalidFileError(source.name, `the storage ${key} is not there`);
  }
  return places;
}

function widthOf(file: string, { key, dtype }: TorchStorage): number {
  if (dtype === undefined) return 1;
  if (dtype === 'C64') return 8;
  if (dtype === 'C128') return 16;
  if (isDType(dtype)) return BYTES_PER_ELEMENT[dtype];
  // Quantised tensors are not read; what comes after them is.
  if (dtype === 'QInt32Storage') return 4;
  if (/^QU?Int\w+Storage$/.test(dtype)) return 1;
  throw new InvalidFileError(file, `the storage ${key} is of the type ${dtype}, whose size is not known`);
}
