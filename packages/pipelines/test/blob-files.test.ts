import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import { beforeAll, expect, test } from 'vitest';
import { blobFolder, openPipeline } from '../src/index.js';
import { openPipeline as openFromDisk } from '../src/node/index.js';
import { sampleFixture } from './support/goldens.js';

beforeAll(async () => void (await useBackend({ engine: 'cpu' })));

/** The files below a folder, as a browser's folder input gives them. */
function filesOf(folder: string, top = ''): (File & { readonly webkitRelativePath: string })[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry): File & { readonly webkitRelativePath: string } => {
      const path = join(entry.parentPath, entry.name);
      const file = new File([readFileSync(path)], entry.name);
      return Object.assign(file, { webkitRelativePath: top + relative(folder, path) });
    });
}

test('a folder of diffusers from a folder input: the picture of the same folder on disk', async () => {
  const folder = sampleFixture('tiny-sd');
  const request = { prompt: 'a red cat', seed: 5, steps: 2, height: 16, width: 16 };
  const disk = await openFromDisk(folder);
  const { images } = await disk.generate(request);
  disk.dispose();
  const pipeline = await openPipeline(filesOf(folder, 'my model/'));
  expect(pipeline.family).toBe('Stable Diffusion 1, 2, XL');
  expect((await pipeline.generate(request)).images[0]!.data).toEqual(images[0]!.data);
  pipeline.dispose();
});

test('our own model by paths, with a classifier that an option names among the other files', async () => {
  const models = fileURLToPath(new URL('../../../models', import.meta.url));
  const blobs = (name: string, prefix: string) =>
    filesOf(join(models, name)).map((file): [string, Blob] => [prefix + file.webkitRelativePath, file]);
  const pipeline = await openPipeline(new Map(blobs('digits', '')), {
    classifier: 'judges/digits-classifier',
    files: new Map(blobs('digits-classifier', 'judges/digits-classifier/')),
  });
  expect(pipeline.takes).toContain('classifierScale');
  pipeline.dispose();
  await expect(openPipeline(new Map(blobs('digits', '')), { classifier: 'nowhere' })).rejects.toThrow(
    /"nowhere".*no such file or folder among the option files/,
  );
});

test('one file of weights, with the autoencoder of a folder among the other files', async () => {
  const name = 'edm2-img8-tiny-uncond-0000020-0.100.pkl';
  const file = new File([readFileSync(fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url)))], name);
  const files = filesOf(sampleFixture('tiny-sd'), 'sd/');
  const pipeline = await openPipeline(file, { parts: 'sd', files });
  expect(pipeline.description).toMatch(/^edm2-img8-tiny.*: EDM2, 8 x 8 x 4, unconditional/);
  pipeline.dispose();
  await expect(openPipeline(new Blob(['hello']))).rejects.toThrow(/model.*is no weight file/);
});

test('opening reads the headers of weights, and no more', async () => {
  const bytes = readFileSync(fileURLToPath(new URL('../../../models/digits/model.safetensors', import.meta.url)));
  const blob = new Blob([bytes]);
  let read = 0;
  const slice = blob.slice.bind(blob);
  blob.slice = (from = 0, to = 0) => {
    read += to - from;
    return slice(from, to);
  };
  const weights = await blobFolder(new Map([['model.safetensors', blob]])).weights('');
  expect(weights.tensors.size).toBeGreaterThan(50);
  expect(read).toBeLessThan(bytes.length / 10);
  const [first] = weights.tensors.keys();
  expect((await weights.read(first!)).data.length).toBeGreaterThan(0);
  expect(read).toBeLessThan(bytes.length / 4);
});

test('sizes are checked before anything is read', async () => {
  const huge = { size: 2 ** 33, text: () => Promise.reject(new Error('was read')) } as unknown as Blob;
  const files = blobFolder(
    new Map([
      ['config.json', huge],
      ['vocab.json', huge],
    ]),
    'mine',
  );
  await expect(files.json('config.json')).rejects.toThrow(/mine\/config.json.* has 8589934592 bytes, at most/);
  await expect(files.bytes!('vocab.json')).rejects.toThrow(/at most 16777216 are read/);
  await expect(files.text('model_index.json')).rejects.toThrow(/mine\/model_index.json.*no such file/);
  await expect(files.weights('')).rejects.toThrow(/has no weights without a variant; it has: no weight files/);
});
