import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { InvalidArgumentError, type Module } from '@mezzotint/core';

/**
 * Hashes of what a training reads anew at each start and never changes, by what people call it: a run goes on with the same only, as
 * checkpoints do not hold it.
 */
export type Frozen = Readonly<Record<string, string>>;

/** SHA-256 of a module's weights as they are now, and of files that go with them. */
export async function weightsHash(module: Module | undefined, files: readonly string[] = []): Promise<string> {
  const hash = createHash('sha256');
  for (const [name, param] of module?.params() ?? []) {
    const { shape, data } = await param.toHost();
    hash.update(`${name} [${shape}]`).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  for (const file of files) hash.update(await readFile(file));
  return hash.digest('hex');
}

/**
 * @param before those of the checkpoint; undefined in one that older versions wrote
 * @throws InvalidArgumentError that names everything which is another one now
 */
export function checkFrozen(run: string, before: Frozen = {}, now: Frozen = {}): void {
  const changed = Object.keys(before).filter((name) => now[name] !== undefined && now[name] !== before[name]);
  if (changed.length === 0) return;
  throw new InvalidArgumentError(
    run,
    `was trained with another ${changed.join(' and another ')} than there is now, by its weights or its vocabulary: bring back what was there, or ` +
      'begin a new run, with --init to keep what this one learned',
  );
}
