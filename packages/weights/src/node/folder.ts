import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { weightsOfFolder } from '../open.js';

/**
 * The weight file or shard index of a model's folder as diffusers and transformers lay it out. `variant` is the part
 * of the name that hubs put in (`fp16`). Throws an InvalidFileError that says what is there instead.
 */
export function findWeights(folder: string, variant?: string): string {
  const has = (name: string) => existsSync(join(folder, name));
  return join(
    folder,
    weightsOfFolder(folder, has, () => readdirSync(folder), variant),
  );
}
