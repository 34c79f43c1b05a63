import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type CommandContext, startProgress, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { InvalidArgumentError } from '@mezzotint/core';
import { replaceFolder } from '@mezzotint/core/node';
import {
  type Dataset,
  type EncodedBatch,
  encodeLatents,
  exampleStream,
  type ImageBatch,
  type LatentsIndex,
  openDataset,
  withoutDamaged,
} from '@mezzotint/data';
import { diskFiles, type OpenedCodec, openCodec } from '@mezzotint/pipelines/node';
import { readJson } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { CODEC, copyCodec, findCodec } from './codec-files.js';
import { HELD_OUT, splitOf } from './training-data.js';

/** The flags of `train encode`. */
export interface EncodeFlags {
  readonly data: string;
  readonly codec: string;
  readonly out: string;
  readonly size?: number;
  readonly heldOut?: number;
  readonly heldOutSeed: number;
  readonly heldOutPath?: string;
  readonly classes: boolean;
  readonly flip?: boolean;
  readonly batchSize: number;
  readonly overwrite?: boolean;
  readonly engine?: string;
}

export function encodeCommand(): Command {
  return new Command('train encode')
    .description(
      'Encodes pictures once with an autoencoder, as means and deviations in shards, for training on latent images ' +
        '("data": {"kind": "latents"}). Classes and all captions are kept; the autoencoder goes with them.',
    )
    .requiredOption('--data <path>', 'pictures: a folder (class folders, captions) or a .tar archive')
    .requiredOption(
      '--codec <model>',
      "autoencoder: a run or model folder of train, also that of a model of latent images; or a diffusers folder (a pipeline's, or its vae)",
    )
    .requiredOption('--out <folder>', 'where the latent images go')
    .option(
      '--size <pixels>',
      "pixels a side (default: what train's autoencoder was trained on)",
      wholeNumber('--size', 1),
    )
    .option(
      '--held-out <fraction>',
      'part that is not trained on but scored, at most 512 pictures (default: 0.05, of fewer than 50 pictures 0)',
      Number,
    )
    .option(
      '--held-out-seed <n>',
      'which pictures those are: another number, another choice',
      wholeNumber('--held-out-seed', 0),
      0,
    )
    .option('--held-out-path <path>', 'another folder or archive that is scored instead')
    .option('--no-classes', 'folders are no classes')
    .option('--flip', 'encode each picture mirrored left-right, too; a training takes one of both at random')
    .option('--batch-size <n>', 'pictures that are encoded at one time', wholeNumber('--batch-size', 1), 16)
    .option('--overwrite', 'replace an existing folder of latent images')
    .option('--engine <name>', 'TensorFlow.js engine (default: the fastest here)')
    .addHelpText(
      'after',
      '\nExample:\n  pnpm train encode --data my-pictures --codec runs/vae --out runs/latents\n' +
        '  pnpm train --data runs/latents --run runs/latent-model',
    );
}

/** Encodes the pictures to train on, and those that are held out, and puts the autoencoder beside them. */
export async function runEncode(flags: EncodeFlags, { say, result, signal }: CommandContext): Promise<void> {
  const { data, out, heldOut, heldOutSeed, heldOutPath, classes, overwrite = false } = flags;
  if (existsSync(out) && !(overwrite && holdsLatents(out))) {
    const hint = overwrite
      ? 'and holds no latent images: choose another --out'
      : 'choose another --out, or --overwrite';
    throw new InvalidArgumentError('--out', `${out} is there already: ${hint}`);
  }
  if (heldOut !== undefined && !(heldOut >= 0 && heldOut <= 0.5))
    throw new InvalidArgumentError('--held-out', `expected 0 to 0.5, got ${heldOut}`);
  const codecFolder = findCodec(flags.codec);
  await useBackend({ engine: flags.engine });
  const codec = await openCodec(diskFiles(codecFolder), '');
  try {
    const labels = classes ? 'auto' : 'none';
    const all = await undamaged(await openDataset(data, { folderClasses: classes ? 'auto' : 'never' }));
    const usual = all.examples.length < 50 ? 0 : 0.05; // of few there are none to spare
    const held = { heldOut: heldOut ?? usual, heldOutSeed, ...(heldOutPath !== undefined && { heldOutPath }) };
    const split = await splitOf(all, { labels, ...held });
    for (const line of all.skipped) say(`Passed over: ${line}`);
    if (heldOutPath !== undefined) {
      for (const line of split.heldOut!.skipped) say(`Passed over in ${heldOutPath}: ${line}`);
    }
    const size = flags.size ?? sizeOf(codecFolder);
    check(codec, size);
    await codec.model.load(codec.weights);
    const encode = { ...flags, size, codec, signal };
    const partial = `${resolve(out)}.partial-run`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(dirname(resolve(out)), { recursive: true });
    const index = await encodeSet(split.train, partial, encode);
    if (split.heldOut) await encodeSet(split.heldOut, join(partial, HELD_OUT), { ...encode, flip: false });
    await copyCodec(codecFolder, join(partial, CODEC));
    await (overwrite ? replaceFolder(partial, out) : rename(partial, resolve(out)));
    const numbers = (list: readonly number[]) => list.map((value) => value.toFixed(3)).join(', ');
    say(
      `${out}: ${index.count} latent images of ${index.height} x ${index.width} x ${index.channels}${index.mirrored ? ', each mirrored, too' : ''}` +
        `${split.heldOut ? `, ${split.heldOut.examples.length} more held out` : ''}; means ${numbers(index.mean)}; deviations ${numbers(index.deviation)}`,
    );
    const { count, height, width, channels, mean, deviation } = index;
    result({ out: resolve(out), count, height, width, channels, mean, deviation });
  } finally {
    codec.model.dispose();
    codec.close();
  }
}

/** The pictures that can be decoded: encoding takes much longer than to look at each before. */
async function undamaged(set: Dataset): Promise<Dataset> {
  const progress = startProgress('Looking for damaged pictures', set.examples.length);
  try {
    return await withoutDamaged(set, { onProgress: (done, total) => progress.update(done, total) });
  } finally {
    progress.stop();
  }
}

interface Encoding extends Pick<EncodeFlags, 'batchSize' | 'flip'> {
  readonly size: number;
  readonly codec: OpenedCodec;
  readonly signal: AbortSignal;
}

async function encodeSet(
  set: Dataset,
  folder: string,
  { size, batchSize, codec, signal, flip = false }: Encoding,
): Promise<LatentsIndex> {
  const channels = codec.model.config.inChannels as 1 | 3;
  const stream = exampleStream(set, { ...{ batchSize, seed: 0, size, channels }, last: 'keep' });
  const progress = startProgress('Encoding', stream.batchesPerEpoch);
  try {
    return await encodeLatents(
      folder,
      stream,
      (batch) => {
        signal.throwIfAborted();
        return encodeBatch(codec, batch);
      },
      {
        classes: set.classes,
        encoder: codec.model.constructor.name,
        mirrored: flip,
        captions: set.examples.map(({ captions }) => captions),
        onProgress: (done, total) => progress.update(done, total),
      },
    );
  } finally {
    progress.stop();
    await stream.close();
  }
}

/** The Gaussian of each picture; an autoencoder that gives none has a deviation of zero. */
async function encodeBatch({ model }: OpenedCodec, { images, shape }: ImageBatch): Promise<EncodedBatch> {
  const { mean, deviation } = tf.tidy(() => {
    const z = model.encode(tf.tensor4d(images, [...shape]));
    return 'logvar' in z
      ? { mean: z.mean, deviation: tf.exp(tf.mul(z.logvar, 0.5)) as tf.Tensor4D }
      : { mean: z, deviation: tf.zerosLike(z) };
  });
  try {
    return {
      mean: (await mean.data()) as Float32Array,
      deviation: (await deviation.data()) as Float32Array,
      shape: mean.shape,
    };
  } finally {
    tf.dispose([mean, deviation]);
  }
}

/** Whether a folder is one of latent images, also a damaged one; any other index.json is somebody else's. */
function holdsLatents(folder: string): boolean {
  const path = join(folder, 'index.json');
  return existsSync(path) && (readJson(path) as { format?: unknown } | null)?.format === 'mezzotint/latents@1';
}

/** Pixels that an autoencoder of ours was trained on. */
function sizeOf(folder: string): number {
  const { image } = readJson(join(folder, 'config.json')) as { image?: { size?: unknown } };
  if (typeof image?.size === 'number') return image.size;
  throw new InvalidArgumentError('--size', `${folder} does not say for how many pixels it is: give it with --size`);
}

function check({ model }: OpenedCodec, size: number): void {
  const { inChannels } = model.config;
  const problems = [
    ...(size % model.downscale === 0
      ? []
      : [`size: the autoencoder needs a side that ${model.downscale} divides, got ${size}`]),
    ...(inChannels === 1 || inChannels === 3
      ? []
      : [`codec: expected one of grey or coloured pictures, got ${inChannels} channels`]),
  ];
  if (problems.length > 0) throw new InvalidArgumentError('train encode', problems);
}
