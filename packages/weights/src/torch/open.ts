import { type HostTensor, InvalidFileError } from '@mezzotint/core';
import { type ByteSource, bytesSource } from '../bytes/byte-source.js';
import { sliceSource } from '../bytes/slice.js';
import { PickleBytes } from '../pickle/values.js';
import type { WeightFile } from '../weight-file.js';
import { readTorchLegacy } from './legacy-file.js';
import { NestedTensor, type NestedTorchFile } from './meaning.js';
import { type ModuleRecord, moduleRecords } from './module-records.js';
import { readTorchTensor, TorchStorage, TorchTensor } from './tensors.js';
import { type AnyTensor, children, chooseWeights } from './tree.js';
import { readTorchZip, type TorchContents } from './zip-file.js';

/** Longest text that is kept. */
const MAX_NOTE = 1000;

/** An open torch file. */
export interface TorchFile extends WeightFile {
  /** Names that its pickle would have called or imported and that are not understood; nothing of it was executed. */
  readonly refused: readonly string[];
  /** Its top-level parts with tensors (`model`, `ema`, `opt`, …); empty for a plain state dict. */
  readonly parts: readonly string[];
  /** The part whose tensors these are; '' for the whole. */
  readonly part: string;
  /** How modules of EDM's persistence (its `.pkl` snapshots) were constructed, by part: `ema`, `encoder`, `loss_fn`. */
  readonly modules: ReadonlyMap<string, ModuleRecord>;
}

/** How a torch file is opened. */
export interface OpenTorchOptions {
  /** The part to take, for example `model` where `ema` would be preferred; '' for everything with full paths. */
  readonly part?: string;
  /** Compare the checksums of whole records; true when absent. Turn off for files saved with torch's CRC-32 off. */
  readonly checksums?: boolean;
}

/**
 * Opens a file of `torch.save` (`.pt .pth .ckpt .bin`; zip and legacy format), or a pickle of a whole torch module
 * (EDM's `.pkl`), without executing anything of it: its pickle is interpreted by an allow-list, and what is not on it
 * is listed in `refused`. Tensors are read one at a time, views and strides resolved.
 *
 * Of a checkpoint with several parts the averaged weights are taken (`ema`), else the trained ones (`state_dict`,
 * `model`); `part` chooses. What training on several devices or `torch.compile` puts before every name (`module.`,
 * `_orig_mod.`) is left out. Throws an InvalidFileError when the file is damaged or holds no tensors.
 */
export async function openTorch(
  source: ByteSource & { close?(): void },
  { part, checksums = true }: OpenTorchOptions = {},
): Promise<TorchFile> {
  const contents = await readContents(source, checksums);
  const chosen = chooseWeights(source.name, source.size, contents.value, part);
  const storages = new Map<NestedTorchFile, Promise<TorchContents>>();
  const views = await Promise.all(
    [...chosen.tensors].map(async ([name, tensor]) => [name, await resolve(tensor, contents, storages)] as const),
  );
  const tensors = new Map(views);
  if (tensors.size === 0) {
    const hint =
      contents.refused.length > 0
        ? ` It names what is not understood: ${contents.refused.slice(0, 20).join(', ')}.`
        : '';
    throw new InvalidFileError(source.name, `holds no tensors.${hint}`);
  }
  return {
    name: source.name,
    metadata: notesOf(contents.value),
    tensors: new Map([...tensors].map(([name, { tensor }]) => [name, { shape: tensor.shape, dtype: tensor.dtype }])),
    refused: contents.refused,
    parts: chosen.parts,
    part: chosen.part,
    modules: moduleRecords(source.name, source.size, contents.value),
    read: async (name): Promise<HostTensor> => {
      const found = tensors.get(name);
      if (found === undefined) throw new InvalidFileError(source.name, `holds no tensor named ${JSON.stringify(name)}`);
      return readTorchTensor(source.name, name, found.tensor, found.contents.storages);
    },
    close: () => source.close?.(),
  };
}

/** Texts at the top of a checkpoint, such as the `name` of a textual inversion. */
function notesOf(value: unknown): ReadonlyMap<string, string> {
  const texts = [...children(value)].filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return new Map(texts.filter(([, text]) => text.length <= MAX_NOTE).slice(0, 100));
}

async function readContents(source: ByteSource, checksums: boolean): Promise<TorchContents> {
  const first = await source.read(0, Math.min(4, source.size));
  if (first[0] === 0x50 && first[1] === 0x4b) return readTorchZip(source, checksums);
  if (first[0] === 0x80) return readTorchLegacy(source);
  throw new InvalidFileError(
    source.name,
    'not a torch file: it is neither a zip archive nor a pickle (very old tar files are not read)',
  );
}

interface Resolved {
  readonly tensor: TorchTensor;
  readonly contents: TorchContents;
}

/** A tensor whose storage is a torch file inside the pickle: opens that file, once for all that look into it. */
async function resolve(
  tensor: AnyTensor,
  contents: TorchContents,
  storages: Map<NestedTorchFile, Promise<TorchContents>>,
): Promise<Resolved> {
  if (!(tensor instanceof NestedTensor)) return { tensor, contents };
  const { bytes } = tensor.file;
  const name = `${contents.pickle.name} (storage inside)`;
  const opened =
    storages.get(tensor.file) ??
    readContents(
      bytes instanceof PickleBytes
        ? sliceSource(contents.pickle, bytes.offset, bytes.length, name)
        : bytesSource(bytes, name),
      true,
    );
  storages.set(tensor.file, opened);
  const inner = await opened;
  const storage = inner.value;
  if (!(storage instanceof TorchStorage)) throw new InvalidFileError(name, 'is not a storage');
  const view = new TorchTensor(storage, storage.dtype ?? 'unknown', tensor.offset, tensor.shape, tensor.strides);
  return { tensor: view, contents: inner };
}
