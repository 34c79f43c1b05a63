import { join } from 'node:path';
import { type DiffusionConfig, saveModel } from '@mezzotint/app';
import { architectureOfKind } from '@mezzotint/architectures';
import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';
import { type Bitmap, bucketSizes, type ImageSet, resize, resizeFloat, stackPictures, writePng } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import { type Pipeline, pipelineOfNetwork } from '@mezzotint/pipelines';
import { augmentLowResolution, dropLabels, type LossInput, recipeNamed } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import type { WholeSuperResolutionTask } from './config.js';
import { recipeOf } from './defaults.js';
import { contextShape, labelDropoutOf } from './diffusion-task.js';
import { checkNetworkFits, dataShape, networkConfig } from './network-config.js';
import type { Task } from './task.js';
import { openTextConditions } from './text-conditions.js';
import type { TrainingBatch, TrainingData } from './training-data.js';

/** Pillow's names of how small pictures are made. */
const FILTERS = { area: 'box', bicubic: 'bicubic' } as const;

/**
 * A diffusion model that enlarges pictures: it learns x given the small picture that was made of it, resized to x's size and noised at
 * a level that it is told. Ho et al. 2021 (cascaded diffusion), section 4; Saharia et al. 2022 (Imagen), section 2.5.
 */
export async function superResolutionTask(config: WholeSuperResolutionTask, data: TrainingData): Promise<Task> {
  const architecture = architectureOfKind('denoiser', config.architecture);
  const { process, superResolution, crop } = config;
  if (data.first === undefined) throw new InvalidArgumentError('data', 'expected pictures, got latent images');
  const texts = config.conditions && (await openTextConditions(config.conditions, data.captions, config.seed));
  const whole = { ...dataShape(data), ...(texts && { classes: null, ...contextShape(texts) }) };
  const side = crop ?? whole.imageSize;
  const shape = { ...whole, imageSize: side, lowRes: true };
  const learnedVariance = process.kind === 'discrete' && process.learnedVariance;
  const network = networkConfig(architecture, config.network, {
    ...shape,
    // A network without labels is one of pictures of all classes; EfficientUNet has none.
    ...(architecture.name === 'EfficientUNet' && { classes: null }),
    learnedVariance,
  });
  const signature = architecture.signature(network);
  checkConfig(config, whole.imageSize, side, signature.conditions, data);
  const unconditional = signature.classes === null;
  const classes = unconditional ? [] : data.classes;
  checkNetworkFits(signature, { ...shape, learnedVariance, ...(unconditional && { classes: null }) });
  const labelDropout = labelDropoutOf(config, signature);
  const model = architecture.build(network).init(config.seed);
  const modelConfig: DiffusionConfig = {
    format: 'mezzotint/diffusion@1',
    architecture: architecture.name,
    network: network as Record<string, unknown>,
    image: { size: side, channels: data.channels as 1 | 3 },
    superResolution,
    ...(texts && { text: texts.config }),
    classes: [...classes],
    process,
    sampling: config.sampling,
  };
  const pipeline = pipelineOfNetwork(modelConfig, model, undefined, texts?.encoders);
  const objective = recipeNamed(recipeOf(config)).objective({ imageSize: side, time: architecture.time }, process);
  const augmentation = {
    kind: superResolution.augmentation,
    most: superResolution.most,
    time: architecture.time,
  };
  const told = signature.conditions.lowResTime !== undefined;
  const loss = ({ batch, rng }: Pick<LossInput<TrainingBatch>, 'batch' | 'rng'>, training: boolean) =>
    tf.tidy(() => {
      const { large, small } = pairs(batch, side, superResolution, training ? rng : undefined);
      const { lowRes, lowResTime } = augmentLowResolution(small, { height: side, width: side }, rng, augmentation);
      const cond = {
        ...texts?.read(signature, batch.captions ?? [], rng, training),
        lowRes,
        ...(told && { lowResTime }),
        ...(!unconditional && {
          labels: tf.tensor1d(dropLabels(batch.labels, classes.length, training ? labelDropout : 0, rng), 'int32'),
        }),
      };
      const net = (x: tf.Tensor4D, time: tf.Tensor1D, given: typeof cond) =>
        model.forward(x, time, { ...given, ...(training && { rng }) });
      return objective(net, { x0: large, cond }, rng);
    });
  const shown = await data.first(8);
  return {
    model,
    ...(texts && { notes: texts.cut, frozen: texts.frozen }),
    loss: (input) => loss(input, true),
    validate: (batch, rng) => loss({ batch, rng }, false),
    async save(folder, { half }) {
      await saveModel(folder, modelConfig, model, { half, overwrite: true });
      await texts?.save(folder, { half });
    },
    async report(step, folder, signal) {
      const file = join(folder, `step-${String(step).padStart(7, '0')}.png`);
      await enlargedGrid(pipeline, shown, texts ? data.captions : undefined, side, superResolution, file, signal);
      return {};
    },
  };
}

type SuperResolution = WholeSuperResolutionTask['superResolution'];

function checkConfig(
  { superResolution: { factor, most }, architecture, crop, conditions: texts, data: source }: WholeSuperResolutionTask,
  imageSize: number,
  side: number,
  conditions: Readonly<Record<string, unknown>>,
  { captioned, count }: TrainingData,
): void {
  const problems: string[] = [];
  const shortest = shortestSide(source, imageSize);
  if (side > imageSize) problems.push(`crop: expected at most the pictures' ${imageSize} pixels, got ${crop}`);
  else if (side > shortest) {
    problems.push(
      `data.buckets: squares of ${side} pixels are learned, and the shortest side of a bucket has ${shortest}: expected a crop of at most ${shortest}, or no buckets`,
    );
  }
  if (side % factor !== 0) problems.push(`factor: ${factor} does not divide the ${side} pixels of what is made`);
  if (conditions.lowRes === undefined) {
    problems.push(
      `architecture: ${architecture} sees no small picture; take SuperResolutionUNet, or EfficientUNet with lowRes`,
    );
  } else if (most > 0 && conditions.lowResTime === undefined) {
    problems.push(
      `network: is not told how noisy the small picture is (lowResTime: false); then superResolution.most must be 0, got ${most}`,
    );
  }
  if (texts?.encoders.some((one) => 'new' in one || one.trained)) {
    problems.push('conditions: text encoders are trained with a base model; expected ones that are not trained');
  }
  if (texts && conditions.context === undefined) problems.push(`conditions: this ${architecture} reads no texts`);
  if (!texts && conditions.context !== undefined) {
    problems.push(`conditions: this ${architecture} reads texts; say by which encoders`);
  }
  if (texts && captioned === 0) problems.push(`conditions: none of the ${count} pictures has a caption`);
  if (problems.length > 0) throw new InvalidArgumentError('super-resolution', problems);
}

/** Pixels of the shortest side that a batch may have. */
function shortestSide(source: WholeSuperResolutionTask['data'], imageSize: number): number {
  if (source.kind !== 'folder' || source.buckets === undefined) return imageSize;
  return Math.min(...bucketSizes(source.size, source.buckets).flatMap(({ height, width }) => [height, width]));
}

/**
 * Squares of pictures `[N, side, side, C]`, and the small pictures of them. A square is cut at random where the pictures are larger,
 * from the middle without `rng`; it is cut first, so that the small picture knows nothing of what is around it.
 */
function pairs(
  { images, shape: [n, height, width, channels] }: TrainingBatch,
  side: number,
  { factor, downsampling }: SuperResolution,
  rng: RandomStream | undefined,
) {
  const small = side / factor;
  const cut = new Float32Array(n * side * side * channels);
  const shrunk = new Float32Array(n * small * small * channels);
  const places = height === side && width === side ? undefined : rng?.rand(2 * n);
  for (let i = 0; i < n; i++) {
    const at = (room: number, u = 0.5) => Math.min(room, Math.floor(u * (room + 1)));
    const [top, left] = [at(height - side, places?.[2 * i]), at(width - side, places?.[2 * i + 1])];
    for (let row = 0; row < side; row++) {
      const from = ((i * height + top + row) * width + left) * channels;
      cut.set(images.subarray(from, from + side * channels), (i * side + row) * side * channels);
    }
    const one = cut.subarray(i * side * side * channels, (i + 1) * side * side * channels);
    const picture = { data: one, height: side, width: side, channels };
    shrunk.set(
      resizeFloat(picture, { height: small, width: small }, FILTERS[downsampling]).data,
      i * small * small * channels,
    );
  }
  return {
    large: tf.tensor4d(cut, [n, side, side, channels]),
    small: tf.tensor4d(shrunk, [n, small, small, channels]),
  };
}

/** Rows of a small picture, what the model makes of it, and the picture that it was made of. */
async function enlargedGrid(
  pipeline: Pipeline,
  { images, labels, count, height, width, channels }: ImageSet,
  captions: TrainingData['captions'] | undefined,
  side: number,
  { factor, downsampling }: SuperResolution,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const area = height * width * channels;
  const pictures: Bitmap[] = [];
  for (let i = 0; i < count; i++) {
    const data = images.subarray(i * area, (i + 1) * area);
    const large = middleOf({ data, height, width, channels }, side);
    const size = { height: side / factor, width: side / factor };
    const image = resize(large, size, FILTERS[downsampling]);
    const about = {
      ...(pipeline.classes.length > 0 && { labels: [labels[i]!] }),
      ...(captions && { prompt: captions[i]?.[0] ?? '' }),
    };
    const made = await pipeline.generate({ image, seed: i, ...about }, { signal });
    pictures.push(resize(image, large, 'box'), made.images[0]!, large);
  }
  const grid = imageGrid(stackPictures(pictures), { columns: 6, scale: side < 64 ? 2 : 1 });
  await writePng(file, grid, { overwrite: true });
}

/** The square in the middle of a picture. */
function middleOf(picture: Bitmap, side: number): Bitmap {
  const { data, height, width, channels } = picture;
  if (height === side && width === side) return picture;
  const [top, left] = [Math.floor((height - side) / 2), Math.floor((width - side) / 2)];
  const rows = Array.from({ length: side }, (_, row) => {
    const from = ((top + row) * width + left) * channels;
    return data.subarray(from, from + side * channels);
  });
  const cut = new Uint8Array(side * side * channels);
  rows.forEach((row, i) => {
    cut.set(row, i * side * channels);
  });
  return { data: cut, height: side, width: side, channels };
}
