import { randomBytes } from 'node:crypto';
import { lstatSync, readlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { InvalidArgumentError } from '../errors.js';
import { kindOf } from './plain-file.js';

/** Links that are followed one after the other, as Linux has it. */
const MAX_LINKS = 40;

/**
 * Where a file of this name is to be written: the name itself, or where it leads as a symbolic link. A rename onto a device
 * or a FIFO would put a plain file in its place, for everyone on the machine; so only plain files are ever replaced.
 *
 * @throws InvalidArgumentError when a folder, a device, a FIFO or a socket has the name, or the link leads back to itself
 */
export function outputPlace(path: string): string {
  let place = resolve(path);
  for (let links = 0; links <= MAX_LINKS; links++) {
    const stat = lookAt(place);
    if (stat === undefined || stat.isFile()) return place;
    if (!stat.isSymbolicLink()) {
      throw new InvalidArgumentError(path, `is ${kindOf(stat)}; expected the name of a file to write`);
    }
    place = resolve(dirname(place), readlinkSync(place));
  }
  throw new InvalidArgumentError(path, 'is a link that leads back to itself');
}

/** What is there; undefined when nothing is, or when it cannot be seen: writing says why. */
function lookAt(place: string): ReturnType<typeof lstatSync> {
  try {
    return lstatSync(place, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** A hidden name beside `path`, for a file that will be renamed to it; short, so that no longest name is exceeded. */
export function temporaryName(path: string): string {
  const base = Buffer.from(basename(path)).subarray(0, 100).toString('utf8').replaceAll('\ufffd', '');
  return join(dirname(path), `.${base}.${randomBytes(6).toString('hex')}.tmp`);
}
