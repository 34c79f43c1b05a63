import { InvalidFileError, type KeptType, listed, named, quoted, type WeightSource } from '@mezzotint/core';
import { parseStrictJson } from './json/strict-json.js';
import type { WeightFile } from './weight-file.js';

/** What a `*.safetensors.index.json` or `*.bin.index.json` says: which file holds which tensors. */
export interface ShardIndex {
  readonly name: string;
  /** Tensor names by file name, in order. */
  readonly shards: ReadonlyMap<string, readonly string[]>;
}

/** Most files of one model; each stays open. DeepSeek-V3 has 163. */
const MAX_SHARDS = 1024;

/**
 * Parses a shard index. Throws an InvalidFileError when it is not one, or names a file outside its own folder.
 */
export function parseShardIndex(file: string, text: string): ShardIndex {
  let root: unknown;
  try {
    root = parseStrictJson(text);
  } catch (cause) {
    throw new InvalidFileError(file, `not a shard index: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  const map: unknown = root instanceof Map ? root.get('weight_map') : undefined;
  if (!(map instanceof Map)) throw new InvalidFileError(file, 'not a shard index: it has no weight_map');
  const shards = new Map<string, string[]>();
  for (const [name, shard] of map as ReadonlyMap<string, unknown>) {
    if (typeof shard !== 'string' || !/^[^/\\:\0]+$/.test(shard) || shard === '.' || shard === '..') {
      throw new InvalidFileError(
        file,
        `the shard of ${named(name)} is not the name of a file beside the index: ${quoted(shard)}`,
      );
    }
    const names = shards.get(shard);
    if (names === undefined) shards.set(shard, [name]);
    else names.push(name);
  }
  if (shards.size > MAX_SHARDS)
    throw new InvalidFileError(file, `names ${shards.size} files; at most ${MAX_SHARDS} are read`);
  return { name: file, shards };
}

/**
 * Open shards as one source. Throws an InvalidFileError unless each shard holds exactly the tensors that the index says.
 */
export function joinShards(index: ShardIndex, open: ReadonlyMap<string, WeightFile>): WeightFile {
  const tensors = new Map<string, { readonly shape: readonly number[]; readonly dtype: string }>();
  const homes = new Map<string, WeightSource>();
  const problems: string[] = [];
  for (const [shard, names] of index.shards) {
    const source = open.get(shard)!;
    const expected = new Set(names);
    const missing = names.filter((name) => !source.tensors.has(name));
    const unexpected = [...source.tensors.keys()].filter((name) => !expected.has(name));
    if (missing.length > 0) problems.push(`${shard} lacks ${listed(missing, 10)}`);
    if (unexpected.length > 0) problems.push(`${shard} holds ${listed(unexpected, 10)}, which the index does not name`);
    for (const name of names) {
      const tensor = source.tensors.get(name);
      if (tensor === undefined) continue;
      tensors.set(name, tensor);
      homes.set(name, source);
    }
  }
  if (problems.length > 0) throw new InvalidFileError(index.name, `its shards do not fit: ${problems.join('; ')}`);
  const homeOf = (name: string): WeightSource => {
    const home = homes.get(name);
    if (home === undefined) throw new InvalidFileError(index.name, `holds no tensor named ${quoted(name)}`);
    return home;
  };
  return {
    name: index.name,
    tensors,
    metadata: new Map(),
    read: (name) => homeOf(name).read(name),
    ...([...open.values()].every(({ take }) => take !== undefined) && {
      take: (name: string, keep?: readonly KeptType[]) => homeOf(name).take!(name, keep),
    }),
    close: () => {
      for (const source of open.values()) source.close();
    },
  };
}
