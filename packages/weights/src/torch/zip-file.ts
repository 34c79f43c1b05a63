import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import { type ByteSource, bytesSource } from '../bytes/byte-source.js';
import { readPickle } from '../pickle/machine.js';
import { openZip, type ZipArchive } from '../zip/archive.js';
import type { ZipEntry } from '../zip/central-directory.js';
import { storageOf, torchMeaning } from './meaning.js';
import type { StorageBytes, TorchStorage } from './tensors.js';

/** The value of a torch file and where its storages are. */
export interface TorchContents {
  readonly value: unknown;
  /** The pickle's own bytes: long byte strings stay there. */
  readonly pickle: ByteSource;
  readonly refused: readonly string[];
  readonly storages: StorageBytes;
}

/**
 * Reads torch's zip format (since 1.6): `<name>/data.pkl`, one stored record `<name>/data/<key>` a storage, and
 * `<name>/byteorder`. Throws an InvalidFileError when the archive is not one.
 */
export async function readTorchZip(source: ByteSource, checksum: boolean): Promise<TorchContents> {
  const archive = await openZip(source);
  const pickles = [...archive.entries.values()].filter(({ name }) => /^(?:[^/]+\/)?data\.pkl$/.test(name));
  const [entry] = pickles;
  if (entry === undefined || pickles.length > 1) {
    throw new InvalidFileError(source.name, 'a zip archive, but not of torch: it has no single data.pkl');
  }
  const prefix = entry.name.slice(0, -'data.pkl'.length);
  if (entry.size > readingBudget.pickleBytes) {
    const problem = `its pickle claims ${entry.size} bytes; at most ${readingBudget.pickleBytes} are read`;
    throw new InvalidFileError(source.name, problem);
  }
  const bytes = await archive.read(entry, { checksum });
  const pickle = bytesSource(bytes, `${source.name}/${entry.name}`);
  const meaning = torchMeaning(source.name, pickle.size, (id) => storageOf(source.name, id));
  const { value, refused } = await readPickle(pickle, 0, meaning);
  return { value, refused, pickle, storages: await zipStorages(archive, prefix, checksum) };
}

async function zipStorages(archive: ZipArchive, prefix: string, checksum: boolean): Promise<StorageBytes> {
  const order = archive.entries.get(`${prefix}byteorder`);
  const find = ({ key }: TorchStorage): ZipEntry => {
    const entry = archive.entries.get(`${prefix}data/${key}`);
    if (entry === undefined)
      throw new InvalidFileError(archive.name, `the storage ${quoted(key)} is not in the archive`);
    return entry;
  };
  return {
    littleEndian: order === undefined || (await readWord(archive, order, checksum)) !== 'big',
    open: (storage) => archive.open(find(storage)),
    readWhole: (storage) => archive.read(find(storage), { checksum }),
  };
}

async function readWord(archive: ZipArchive, entry: ZipEntry, checksum: boolean): Promise<string> {
  const word = entry.size <= 16 ? new TextDecoder().decode(await archive.read(entry, { checksum })).trim() : '';
  if (word !== 'little' && word !== 'big')
    throw new InvalidFileError(archive.name, 'its byteorder is neither little nor big');
  return word;
}
