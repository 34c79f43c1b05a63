import { writeSafetensors } from '@mezzotint/weights/node';

/** Overwrites a file again and again, each time with one number everywhere, until it is killed. */
const [path] = process.argv.slice(2) as [string];
for (let n = 1; ; n++) {
  const data = new Float32Array(1 << 20).fill(n);
  await writeSafetensors(path, { a: { shape: [1 << 20], data }, b: { shape: [1 << 20], data } }, { overwrite: true });
  process.send?.(n);
}
