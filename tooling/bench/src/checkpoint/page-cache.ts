import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { promisify } from 'node:util';

/** Makes the system forget a file's pages (coreutils' dd asks it to). Throws where there is no such dd. */
export async function forget(path: string): Promise<void> {
  await promisify(execFile)('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
}

/** Reads a file to its end, so that its pages are in memory. */
export async function recall(path: string, signal: AbortSignal): Promise<void> {
  for await (const _ of createReadStream(path, { highWaterMark: 2 ** 22, signal })) {
    // The reading is the purpose.
  }
}
