import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { temporaryName } from './output-place.js';

/**
 * Gives a finished folder its name. A folder that has the name is set aside and removed only when the new one stands in its place;
 * when that fails it comes back.
 */
export async function replaceFolder(from: string, to: string): Promise<void> {
  const place = resolve(to);
  const aside = existsSync(place) ? temporaryName(place) : undefined;
  if (aside !== undefined) await rename(place, aside);
  try {
    await rename(from, place);
  } catch (error) {
    if (aside !== undefined) await rename(aside, place);
    throw error;
  }
  if (aside !== undefined) await rm(aside, { recursive: true });
}
