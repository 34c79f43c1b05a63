import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes a text file and waits until it is on the disk. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(text, 'utf8');
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Replaces a text file in one step: readers see the old one or the new one. */
export async function replaceDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.partial`;
  await writeDurably(temporary, text);
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** Brings the names in a folder to the disk. Some systems cannot open folders (Windows), and do not need it. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(() => undefined);
  try {
    await handle?.sync().catch(() => undefined);
  } finally {
    await handle?.close();
  }
}
