import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readSafetensors } from '@mezzotint/weights/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  listSnapshots,
  parseSnapshotFileName,
  reconstructAverages,
  snapshotFileName,
  writeSnapshot,
} from '../src/node.js';

describe('names of snapshots', () => {
  // Names of EDM2's published files; a batch of 2048 makes every number of images a multiple of 1024.
  test.each([
    ['network-snapshot-0939524-0.100', 2 ** 11 * 458752],
    ['edm2-img512-s-2147483-0.130', 2 ** 31],
    ['edm2-img512-xxs-0134217-0.170', 2 ** 27],
  ])('%s', (name, images) => {
    expect(parseSnapshotFileName(`${name}.pkl`)).toEqual({ time: images, sigmaRel: Number(name.slice(-5)) });
  });

  test('thousands of images give the images back, exactly, or all digits are written', () => {
    for (let images = 1; images < 2 ** 22; images += images % 1024 === 0 ? 977 : 1024 - (images % 1024)) {
      const name = snapshotFileName({ time: images, sigmaRel: 0.05 });
      expect(parseSnapshotFileName(name)).toEqual({ time: images, sigmaRel: 0.05 });
    }
    expect(snapshotFileName({ time: 2 ** 20, sigmaRel: 0.1 })).toBe('network-snapshot-0001048-0.100.safetensors');
    expect(snapshotFileName({ time: 1500, sigmaRel: 0.1 })).toBe('network-snapshot-1500img-0.100.safetensors');
  });

  test('what is no snapshot is not one, and a width that a name cannot say is refused', () => {
    for (const name of [
      'model.safetensors',
      'network-snapshot-0001-0.9.pkl',
      'x-0000000-0.100.pkl',
      'x-12-0.100.txt',
    ]) {
      expect(parseSnapshotFileName(name)).toBeUndefined();
    }
    expect(() => snapshotFileName({ time: 1.5, sigmaRel: 0.0501 })).toThrow(/images, got 1.5\n.*three decimals/);
  });
});

describe('a folder', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'snapshots-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const state = (value: number) => ({
    updates: 1,
    tensors: {
      a: { shape: [2], data: new Float32Array([value, 1]) },
      b: { shape: [], data: new Float32Array([-value]) },
    },
  });

  test('is listed by time and width, and reconstructed into files', async () => {
    for (const time of [2048, 1024, 3072]) {
      for (const sigmaRel of [0.1, 0.05]) await writeSnapshot(folder, { time, sigmaRel }, state(time * sigmaRel));
    }
    writeFileSync(join(folder, 'notes.txt'), '');
    expect(listSnapshots(folder).map(({ time, sigmaRel }) => [time, sigmaRel])).toEqual([
      [1024, 0.05],
      [1024, 0.1],
      [2048, 0.05],
      [2048, 0.1],
      [3072, 0.05],
      [3072, 0.1],
    ]);
    const targets = [0.05, 0.075].map((sigmaRel) => ({ sigmaRel, path: join(folder, `made-${sigmaRel}.safetensors`) }));
    let calls = 0;
    await reconstructAverages(folder, targets, { onTensor: () => calls++ });
    expect(calls).toBe(2);
    const [same, between] = targets.map(({ path }) => readSafetensors(path));
    // The width is one of the stored: its snapshot comes back. Constants stay what they are at any width.
    expect((await same!.read('a')).data[0]).toBeCloseTo(3072 * 0.05, 3);
    expect((await between!.read('a')).data[1]).toBeCloseTo(1, 6);
    expect(between!.metadata.get('sigma_rel')).toBe('0.075');
    expect(between!.metadata.get('images')).toBe('3072');
    same!.close();
    between!.close();
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('without snapshots is refused', async () => {
    await expect(reconstructAverages(folder, [])).rejects.toThrow(/holds no snapshots/);
  });
});
