import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writePng } from '@mezzotint/data';

/** A folder with two classes of 8x8 grey pictures: `a` bright on the left, `b` bright on the right. */
export async function writeImageFolder(folder: string, perClass = 8): Promise<void> {
  for (const [label, name] of ['a', 'b'].entries()) {
    mkdirSync(join(folder, name), { recursive: true });
    for (let i = 0; i < perClass; i++) {
      const data = Uint8Array.from({ length: 64 }, (_, p) => ((p % 8 < 4 ? 0 : 1) === label ? 200 + 5 * i : 10 + p));
      await writePng(join(folder, name, `${i}.png`), { data, height: 8, width: 8, channels: 1 });
    }
  }
}
