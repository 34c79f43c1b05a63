import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  AutoencoderKL,
  autoencoderKLFromDiffusers,
  autoencoderTinyFromDiffusers,
  vqModelFromDiffusers,
} from '@mezzotint/autoencoders';
import { parseJson, sizeOf, type WeightSource } from '@mezzotint/core';
import { decodeImage } from '@mezzotint/data';
import { ditFromDiffusers } from '@mezzotint/dit';
import { fluxFromDiffusers, mmditFromDiffusers } from '@mezzotint/mmdit';
import { samplerFromDiffusers } from '@mezzotint/schedulers';
import {
  clipTextFromTransformers,
  clipTokenizer,
  t5FromTransformers,
  t5Tokenizer,
  tokenizerOptionsFromTransformers,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromDiffusers, unet2dFromDiffusers } from '@mezzotint/unet';
import {
  bytesSource,
  dequantized,
  explain,
  openComponent,
  openGguf,
  openNpy,
  openNpz,
  openSafetensorsSync,
  openTorch,
  parseShardIndex,
} from '@mezzotint/weights';
import { mutateBytes, mutateJson, type Random } from './mutate.js';

/** A reader, files to start from, and what is done to them. Adding one is one record here. */
export interface Reader {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  mutate(seed: Uint8Array, random: Random): Uint8Array;
  /** Reads the file to its end. Throws an error of ours, or nothing. */
  read(bytes: Uint8Array): unknown;
}

const root = fileURLToPath(new URL('../../..', import.meta.url));
const file = (path: string) => new Uint8Array(readFileSync(join(root, path)));
const below = (folder: string, ending: RegExp) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .sort()
    .map((name) => file(join(folder, name)));
const base64 = (path: string) =>
  Object.values((JSON.parse(Buffer.from(file(path)).toString('utf8')) as { files: Record<string, string> }).files).map(
    (text) => new Uint8Array(Buffer.from(text, 'base64')),
  );

async function readAll(source: WeightSource): Promise<void> {
  for (const [name, { shape }] of source.tensors) {
    const { data } = await source.read(name);
    if (data.length !== sizeOf(shape)) throw new Error(`${name} is not of its shape`);
  }
}

const binary = (name: string, seeds: readonly Uint8Array[], read: Reader['read']): Reader => ({
  name,
  seeds,
  mutate: mutateBytes,
  read,
});
const json = (name: string, seeds: readonly Uint8Array[], read: (value: unknown) => unknown): Reader => ({
  ...{ name, seeds, mutate: mutateJson },
  read(bytes) {
    let value: unknown;
    try {
      value = parseJson(Buffer.from(bytes).toString('utf8'), { python: true });
    } catch (error) {
      if (error instanceof SyntaxError) return; // What readJson turns into an InvalidFileError.
      throw error;
    }
    read(value);
  },
});

const weights = 'packages/weights/test/fixtures';
const tokenizers = 'packages/text-encoders/test/fixtures/tokenizers';
const apps = 'apps/sample/test/fixtures';
const merges = Buffer.from(file(`${tokenizers}/merges.txt`)).toString('utf8');
const vocab: unknown = JSON.parse(Buffer.from(file(`${tokenizers}/vocab.json`)).toString('utf8'));

/** Every reader of the project. */
export const readers: readonly Reader[] = [
  binary('safetensors', below(apps, /tiny-sd\/.*\.safetensors$/).slice(0, 2), (bytes) => {
    const source = openSafetensorsSync(bytesSource(bytes));
    return readAll(source);
  }),
  binary('single file', below(apps, /tiny-sd\/unet\/.*\.safetensors$/), (bytes) =>
    explain(openComponent(openSafetensorsSync(bytesSource(bytes))).weights as never),
  ),
  binary('torch', below(`${weights}/torch`, /\.(?:pt|ckpt|pkl)$/), async (bytes) =>
    readAll(await openTorch(bytesSource(bytes), { checksums: false })),
  ),
  binary('npz', below(`${weights}/numpy`, /\.npz$/), async (bytes) => readAll(await openNpz(bytesSource(bytes)))),
  binary('npy', below(`${weights}/numpy`, /\.npy$/), async (bytes) => readAll(await openNpy(bytesSource(bytes)))),
  binary('gguf', below(`${weights}/gguf`, /\.gguf$/), async (bytes) => readAll(await openGguf(bytesSource(bytes)))),
  binary('quantised', below(`${weights}/quantized`, /\.safetensors$/), async (bytes) =>
    readAll(await dequantized(openSafetensorsSync(bytesSource(bytes)))),
  ),
  {
    ...json(
      'shard index',
      [Buffer.from('{"metadata":{"total_size":8},"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors"}}')],
      () => undefined,
    ),
    read: (bytes: Uint8Array) => parseShardIndex('index', Buffer.from(bytes).toString('utf8')),
  },
  binary(
    'picture',
    [
      ...base64('packages/data/test/fixtures/image-files.json'),
      ...base64('packages/data/test/fixtures/image-kinds.json'),
    ],
    (bytes) => decodeImage(bytes, 'picture', { channels: 3, maxPixels: 2 ** 20 }),
  ),
  json('clip vocab.json', [file(`${tokenizers}/vocab.json`)], (value) =>
    clipTokenizer({ vocab: value, merges }).encode('a red cat'),
  ),
  binary('clip merges.txt', [file(`${tokenizers}/merges.txt`)], (bytes) =>
    clipTokenizer({ vocab, merges: Buffer.from(bytes).toString('utf8') }).encode('a red cat'),
  ),
  json('clip tokenizer.json', [file(`${tokenizers}/clip-tokenizer.json`)], (value) =>
    clipTokenizer({ tokenizerJson: value }).encode('a red cat'),
  ),
  json('t5 tokenizer.json', [file(`${tokenizers}/t5-tokenizer.json`)], (value) =>
    t5Tokenizer({ tokenizerJson: value }).encode('a red cat'),
  ),
  binary('spiece.model', [file(`${tokenizers}/spiece.model`)], (bytes) =>
    t5Tokenizer({ spiece: bytes }).encode('a red cat'),
  ),
  json('tokenizer_config.json', below(apps, /tokenizer_config\.json$/), (value) =>
    tokenizerOptionsFromTransformers(value),
  ),
  json('unet config.json', below(apps, /unet\/config\.json$/), (value) =>
    new UNet2DCondition(unet2dConditionFromDiffusers(value)).params(),
  ),
  json('unet2d config.json', below('packages/unet/test/fixtures/unet2d', /config\.json$/), (value) =>
    unet2dFromDiffusers(value),
  ),
  json('vae config.json', below(apps, /vae\/config\.json$/), (value) =>
    new AutoencoderKL(autoencoderKLFromDiffusers(value)).params(),
  ),
  json(
    'other vae config.json',
    below('packages/autoencoders/test/fixtures', /(?:tiny|vq-model)\/config\.json$/),
    (value) => {
      const { _class_name: name } = (value ?? {}) as { _class_name?: unknown };
      return name === 'VQModel' ? vqModelFromDiffusers(value) : autoencoderTinyFromDiffusers(value);
    },
  ),
  json('dit config.json', below('packages/dit/test/fixtures', /config\.json$/), (value) => ditFromDiffusers(value)),
  json('flux config.json', below('packages/mmdit/test/fixtures', /flux.*config\.json$/), (value) =>
    fluxFromDiffusers(value),
  ),
  json('sd3 config.json', below('packages/mmdit/test/fixtures', /sd3.*config\.json$/), (value) =>
    mmditFromDiffusers(value),
  ),
  json('text encoder config.json', below(apps, /text_encoder\/config\.json$/), (value) =>
    clipTextFromTransformers(value),
  ),
  json('t5 config.json', below('packages/text-encoders/test/fixtures/t5-encoder', /config\.json$/), (value) =>
    t5FromTransformers(value),
  ),
  json('scheduler_config.json', below(apps, /scheduler_config\.json$/), (value) =>
    samplerFromDiffusers(value as never),
  ),
].filter(({ seeds }) => seeds.length > 0);
