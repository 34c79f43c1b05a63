import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { WeightSource } from '@mezzotint/core';
import { type ComponentName, openSingleFile } from '@mezzotint/weights';
import { describe, expect, test } from 'vitest';
import { singleFiles } from './originals.js';
import { numbered } from './synthetic.js';

interface Digest {
  readonly tensors: number;
  readonly sha256: string;
}

const golden = JSON.parse(readFileSync(new URL('fixtures/golden/conversions.json', import.meta.url), 'utf8')) as {
  files: Record<string, Record<string, Digest>>;
};

/** SHA-256 over names, shapes and numbers, as make-conversions.py takes it. */
async function digest(source: WeightSource): Promise<Digest> {
  const sha = createHash('sha256');
  const names = [...source.tensors.keys()].sort();
  for (const name of names) {
    const { shape, data } = await source.read(name);
    sha.update(`${name} ${shape}\n`);
    sha.update(Float32Array.from(data));
  }
  return { tensors: names.length, sha256: sha.digest('hex') };
}

describe("single files come apart as by diffusers' conversion: every name, shape and number", () => {
  const files = singleFiles();
  test.each(Object.entries(golden.files))('%s', async (name, parts) => {
    const source = numbered(files[name]!);
    for (const [part, expected] of Object.entries(parts)) {
      const { components } = openSingleFile(source, { ema: part.endsWith('averaged') });
      const { weights } = components.get(part.split(',')[0] as ComponentName)!;
      expect(await digest(weights), part).toEqual(expected);
    }
  });

  test('a file of averages only is the same model', async () => {
    const averages = Object.entries(files.sd1!).filter(([name]) => !name.startsWith('model.'));
    const both = numbered(files.sd1!);
    const only = { ...both, tensors: new Map([...both.tensors].filter(([name]) => !name.startsWith('model.'))) };
    expect(only.tensors.size).toBe(averages.length);
    const { components } = openSingleFile(only);
    expect(await digest(components.get('unet')!.weights)).toEqual(golden.files.sd1!['unet, averaged']);
  });
});
