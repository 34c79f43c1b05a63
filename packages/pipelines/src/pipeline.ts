import { type HostTensor, InvalidArgumentError } from '@mezzotint/core';
import { type Bitmap, toBytes } from '@mezzotint/data/pixels';
import { type Json, perImageNoise, type SavedRun, type Step } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { batchesOf, jobsOf } from './jobs.js';
import { type LoadPart, Parts } from './parts.js';
import { checkRequest, isBitmap, type Request, type RequestKey, type Settings } from './request.js';
import { begin, checkFinite, finished, type Route, routeOf, runStage, type Start } from './run-stage.js';
import type { Batch, Codec, EncodedBatch, ImageJob, PipelineDefinition, Stage } from './stage.js';
import { startPicture } from './start.js';

/** What a pipeline is doing. */
export interface Progress {
  readonly phase: 'loading' | 'encoding' | 'sampling' | 'decoding';
  /** The stage's name. */
  readonly stage: string;
  /** Tensors loaded, batches encoded, steps taken, pictures decoded. */
  readonly done: number;
  readonly total: number;
}

/** How a request is run. */
export interface RunHooks {
  /** Stops between two steps; the signal's reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Goes on with a run that was saved, of the same request. */
  readonly from?: SavedPipelineRun | undefined;
}

/** A picture, and what it was made from. */
export interface GeneratedImage extends Bitmap {
  readonly job: ImageJob;
}

/** One step of a run. Its tensors live until the next is asked for. */
export interface PipelineStep {
  readonly stage: string;
  /** The pictures of this batch. */
  readonly jobs: readonly ImageJob[];
  /** 0 for the first step of the stage for this batch. */
  readonly index: number;
  readonly count: number;
  /** x after the step, `[N, h, w, C]`. */
  readonly x: tf.Tensor4D;
  /** The estimate of the clean images or latent images, `[N, h, w, C]`. */
  readonly x0: tf.Tensor4D;
  /** The estimates as small pictures, made when asked for. */
  preview(): Promise<Bitmap[]>;
  /** The finished pictures of the batch with its last step; null before. */
  readonly images: readonly GeneratedImage[] | null;
  /** Everything needed to go on from here in another process. Ask before the next step. */
  save(): Promise<SavedPipelineRun>;
}

/** A run between two steps. JSON but for the numbers of tensors. */
export interface SavedPipelineRun {
  readonly stage: number;
  readonly batch: number;
  readonly run: SavedRun;
  /** x of each batch after the stage before; null in the first. */
  readonly before: readonly (HostTensor | null)[];
  /** x of the batches that this stage is done with. */
  readonly done: readonly HostTensor[];
  /** The noise of each batch when the stage began, and of those that are done. */
  readonly noise: readonly Json[];
  readonly noiseAfter: readonly Json[];
}

/** A model that makes pictures. */
export interface Pipeline {
  readonly family: string;
  readonly description: string;
  readonly notes: readonly string[];
  /** The settings that `generate` takes of this model, beside the common ones. */
  readonly takes: readonly RequestKey[];
  /** What the model's makers say of settings that a request leaves out. */
  readonly defaults: Request;
  /** Names of the classes of a model with labels. */
  readonly classes: readonly string[];
  /** The request with everything filled in. Throws as `check`. */
  settings(request: Request): Promise<Settings>;
  /**
   * Checks a request without reading weights.
   *
   * @throws InvalidArgumentError with everything that does not fit
   */
  check(request: Request): Promise<void>;
  /** Makes the pictures of a request. */
  generate(request: Request, hooks?: RunHooks): Promise<{ readonly images: readonly GeneratedImage[] }>;
  /** The same step by step. */
  steps(request: Request, hooks?: RunHooks): AsyncGenerator<PipelineStep, void, undefined>;
  /** Frees the weights and closes the files. */
  dispose(): void;
}

/** What a pipeline is made with. */
export interface PipelineOptions {
  readonly load?: LoadPart;
  /** Frees each model as soon as its work is done; it is loaded again when needed. */
  readonly freeText?: boolean | undefined;
  /** Reads a picture file. */
  readonly readImage?: (path: string) => Promise<Bitmap>;
}

/** The pipeline of a definition. */
export function createPipeline(definition: PipelineDefinition, options: PipelineOptions = {}): Pipeline {
  const parts = new Parts(definition.parts, options.load);
  const { family, description, takes, defaults, classes = [], notes = [] } = definition;
  const prepare = (request: Request) => prepared(definition, request, options);
  const steps: Pipeline['steps'] = (request, hooks = {}) => runPipeline(definition, parts, options, request, hooks);
  return {
    family,
    description,
    notes,
    takes,
    defaults,
    classes,
    settings: async (request) => (await prepare(request)).settings,
    check: async (request) => void (await prepare(request)),
    async generate(request, hooks) {
      const images: GeneratedImage[] = [];
      for await (const step of steps(request, hooks)) images.push(...(step.images ?? []));
      return { images };
    },
    steps,
    dispose() {
      parts.dispose();
      definition.close();
    },
  };
}

/** A request that was checked as a whole. */
interface Prepared {
  readonly settings: Settings;
  readonly batches: readonly Batch[];
  readonly routes: readonly Route[];
  readonly image: Bitmap | null;
  readonly mask: Bitmap | null;
}

async function prepared(definition: PipelineDefinition, request: Request, options: PipelineOptions): Promise<Prepared> {
  const { family, takes, defaults, stages, classes } = definition;
  const asked = checkRequest(request, family, takes);
  const image = await pictureOf('image', asked.image, options);
  const mask = await pictureOf('mask', asked.mask, options);
  const unit = sizeUnitOf(definition);
  const own =
    image === null
      ? defaults
      : { height: image.height - (image.height % unit), width: image.width - (image.width % unit) };
  const strength = asked.strength ?? (mask === null ? 0.8 : 1);
  const settings: Settings = {
    ...defaults,
    ...asked,
    ...(image !== null && { image, strength }),
    ...(mask !== null && { mask }),
    height: asked.height ?? own.height,
    width: asked.width ?? own.width,
    steps: asked.steps ?? defaults.steps,
    guidance: asked.guidance ?? defaults.guidance ?? 1,
    batch: asked.batch ?? defaults.batch ?? 1,
    count: asked.count ?? defaults.count ?? 1,
  };
  const problems = [...settingProblems(definition, asked, settings), ...(definition.check?.(settings) ?? [])];
  if (problems.length > 0) throw new InvalidArgumentError('request', problems);
  const routes = stages.map((stage, i) => routeOf(stage, settings, { handsOver: stages[i + 1]?.start === 'previous' }));
  const batches = batchesOf(jobsOf(settings, classes), settings);
  return { settings, batches, routes, image, mask };
}

/** What the sides of pictures are multiples of. */
function sizeUnitOf({ sizeUnit, stages }: PipelineDefinition): number {
  return sizeUnit ?? stages[0]!.codec?.downscale ?? 1;
}

/** The largest picture that is made: 8192 x 8192. */
const MOST_PIXELS = 2 ** 26;

function settingProblems(definition: PipelineDefinition, asked: Request, settings: Settings): string[] {
  const problems: string[] = [];
  const { stages, takes } = definition;
  const { height, width } = settings;
  const unit = sizeUnitOf(definition);
  for (const [name, side] of Object.entries({ height, width })) {
    if (side < unit || side % unit !== 0) problems.push(`${name}: expected a multiple of ${unit}, got ${side}`);
  }
  if (height * width > MOST_PIXELS)
    problems.push(`size: expected at most ${MOST_PIXELS} pixels, got ${height} x ${width}`);
  if (asked.image === undefined) {
    for (const key of ['mask', 'strength', 'pasteBack'] as const) {
      if (asked[key] !== undefined) problems.push(`${key}: needs an image that it is for`);
    }
  }
  if (asked.pasteBack && asked.mask === undefined) problems.push('pasteBack: needs a mask');
  if (stages[0]!.seesMask && asked.mask === undefined)
    problems.push('this model was made for inpainting: give it an image and a mask');
  if (takes.includes('prompt') && asked.prompt === undefined)
    problems.push('prompt: this model takes a prompt, got none');
  return problems;
}

async function pictureOf(key: string, value: unknown, { readImage }: PipelineOptions): Promise<Bitmap | null> {
  if (value === undefined) return null;
  if (isBitmap(value)) return value;
  if (readImage === undefined)
    throw new InvalidArgumentError(key, 'expected a decoded picture; files are read by @mezzotint/pipelines/node');
  return readImage(value as string);
}

/** Runs the stages one after the other, each over all batches, so that a model is loaded once. */
async function* runPipeline(
  definition: PipelineDefinition,
  parts: Parts,
  options: PipelineOptions,
  request: Request,
  { signal, onProgress, from }: RunHooks,
): AsyncGenerator<PipelineStep, void, undefined> {
  const { settings, batches, routes, image, mask } = await prepared(definition, request, options);
  const { stages } = definition;
  const tell = (phase: Progress['phase'], stage: Stage, done: number, total: number) => {
    onProgress?.({ phase, stage: stage.name, done, total });
    signal?.throwIfAborted();
  };
  const picture = image === null ? null : startPicture(image, mask ?? undefined, settings);
  const starts: (Start | null)[] = batches.map(() => null);
  const noises = batches.map(({ images }) => perImageNoise(images.map(({ seed }) => seed)));
  let before: (tf.Tensor4D | null)[] = (from?.before ?? batches.map(() => null)).map((x) =>
    x === null ? null : toTensor(x),
  );
  let after: tf.Tensor4D[] = (from?.done ?? []).map(toTensor);
  let encoded: EncodedBatch[] = [];
  try {
    for (let s = from?.stage ?? 0; s < stages.length; s++) {
      const stage = stages[s]!;
      const route = routes[s]!;
      const resumed = from?.stage === s ? from : undefined;
      const isLast = s + 1 === stages.length;
      const handsOver = stages[s + 1]?.start === 'previous';
      const codecParts = stage.codec !== null && (isLast || picture !== null || !handsOver) ? stage.codec.parts : [];
      const loading = (done: number, total: number) => tell('loading', stage, done, total);

      // A refiner draws as a run of its own would; a cascade's later stages go on with the noise of the stage before.
      if (stage.start === 'previous') {
        batches.forEach(({ images }, b) => {
          noises[b] = perImageNoise(images.map(({ seed }) => seed));
        });
      }
      resumed?.noise.forEach((state, b) => {
        noises[b]!.restore(state);
      });
      const noiseBefore = noises.map((noise) => noise.save());

      await parts.need(stage.parts.encode, loading);
      for (const [b, batch] of batches.entries()) {
        tell('encoding', stage, b, batches.length);
        encoded.push(await stage.encode(batch, { noise: noises[b]!, previous: before[b] ?? null }));
        const { positive, negative } = encoded[b]!;
        await checkFinite(stage.parts.encode.join(', '), ...Object.values(positive), ...Object.values(negative ?? {}));
      }
      tell('encoding', stage, batches.length, batches.length);
      if (options.freeText) parts.free(stage.parts.encode.filter((name) => !stage.parts.sample.includes(name)));

      await parts.need([...stage.parts.sample, ...codecParts], loading);
      for (const [b, batch] of batches.entries()) {
        const noise = noises[b]!;
        if (resumed !== undefined && b < resumed.batch) {
          noise.restore(resumed.noiseAfter[b]!);
          continue;
        }
        const continues = stage.start === 'previous' && before[b] !== null;
        // A later stage that goes on with noisy latents keeps mask and start of the first.
        const begun = continues
          ? null
          : begin(stage, settings, route, batch.images.length, noise, s === 0 ? picture : null);
        if (begun?.start) starts[b] = begun.start;
        const start = s === 0 || continues ? starts[b]! : null;
        const run = {
          ...{ stage, batch, route, noise, start, signal },
          encoded: encoded[b]!,
          pure: begun?.pure ?? null,
          from: resumed?.batch === b ? resumed.run : continues ? before[b]! : begun!.x,
        };
        try {
          for await (const step of runStage(run)) {
            await checkFinite(
              `${stage.parts.sample.join(', ')}, step ${step.index + 1} of ${step.count}`,
              step.x0,
              step.x,
            );
            tell('sampling', stage, b * step.count + step.index + 1, batches.length * step.count);
            let images: GeneratedImage[] | null = null;
            if (step.last) {
              let end = finished(run, step.x, handsOver);
              if (isLast) {
                const told = (done: number) => tell('decoding', stage, done, batch.images.length);
                images = await pictures(stage, end, batch, { image, mask, told });
              } else if (!handsOver && stage.codec !== null) {
                const latents = end;
                end = await decoded(stage.codec, latents, () => {});
                latents.dispose();
              }
              after.push(end);
            }
            const save = async (): Promise<SavedPipelineRun> => ({
              stage: s,
              batch: b,
              run: await step.save(),
              before: await Promise.all(before.map((x) => (x === null ? null : toHost(x)))),
              done: await Promise.all(after.slice(0, b).map(toHost)),
              noise: noiseBefore,
              noiseAfter: noises.slice(0, b).map((other) => other.save()),
            });
            yield pipelineStep(stage, batch, step, images, save);
          }
        } finally {
          begun?.x.dispose();
        }
      }
      disposeEncoded(encoded);
      encoded = [];
      tf.dispose(before.filter((x) => x !== null));
      before = after;
      after = [];
      if (options.freeText)
        parts.free([...stage.parts.sample, ...codecParts].filter((name) => !neededLater(stages, s, name)));
    }
  } finally {
    disposeEncoded(encoded);
    for (const start of starts) start?.dispose();
    tf.dispose([...before, ...after, picture?.image, picture?.mask].filter((t) => t !== null && t !== undefined));
  }
}

function neededLater(stages: readonly Stage[], at: number, name: string): boolean {
  return stages
    .slice(at + 1)
    .some(({ parts, codec }) => [...parts.encode, ...parts.sample, ...(codec?.parts ?? [])].includes(name));
}

function pipelineStep(
  stage: Stage,
  { images: jobs }: Batch,
  { index, count, x, x0 }: Step,
  images: readonly GeneratedImage[] | null,
  save: () => Promise<SavedPipelineRun>,
): PipelineStep {
  const preview = async () => {
    if (stage.codec !== null && stage.codec.preview === undefined) return [];
    const shown = stage.codec === null ? tf.clone(x0) : stage.codec.preview!(x0);
    const bitmaps = await bitmapsOf(shown);
    shown.dispose();
    return bitmaps;
  };
  return { stage: stage.name, jobs, index, count, x, x0, images, preview, save };
}

/** The finished pictures of a batch. */
async function pictures(
  stage: Stage,
  x: tf.Tensor4D,
  batch: Batch,
  { image, mask, told }: { image: Bitmap | null; mask: Bitmap | null; told: (done: number) => void },
): Promise<GeneratedImage[]> {
  const shown = stage.codec === null ? tf.clone(x) : await decoded(stage.codec, x, told);
  try {
    await checkFinite(stage.codec?.parts.join(', ') ?? stage.parts.sample.join(', '), shown);
    const original =
      image !== null && mask !== null && batch.settings.pasteBack === true
        ? startPicture(image, mask, batch.settings)
        : null;
    const pasted = original === null ? shown : pastedBack(shown, original.image, original.mask!);
    const bitmaps = await bitmapsOf(pasted);
    tf.dispose(
      [original?.image, original?.mask, ...(pasted === shown ? [] : [pasted])].filter(
        (t) => t !== undefined && t !== null,
      ),
    );
    return bitmaps.map((bitmap, i) => ({ ...bitmap, job: batch.images[i]! }));
  } finally {
    shown.dispose();
  }
}

/** The start picture's own pixels where the mask is black. */
function pastedBack(shown: tf.Tensor4D, original: tf.Tensor4D, mask: tf.Tensor4D): tf.Tensor4D {
  return tf.tidy(() => {
    const anew = tf.cast(tf.greaterEqual(mask, 0.5), 'float32');
    return tf.add(original, tf.mul(anew, tf.sub(shown, original))) as tf.Tensor4D;
  });
}

/** Pictures of latent images, one after the other, which takes the least memory. */
async function decoded(codec: Codec, latents: tf.Tensor4D, told: (done: number) => void): Promise<tf.Tensor4D> {
  const done: tf.Tensor4D[] = [];
  const [count] = latents.shape;
  for (let i = 0; i < count; i++) {
    told(i);
    done.push(tf.tidy(() => codec.decode(tf.slice(latents, [i, 0, 0, 0], [1, -1, -1, -1]))));
  }
  told(count);
  const all = tf.concat(done, 0);
  tf.dispose(done);
  return all;
}

/** Bytes of pictures `[N, H, W, C]` about [-1, 1]. */
async function bitmapsOf(x: tf.Tensor4D): Promise<Bitmap[]> {
  const [count, height, width, channels] = x.shape;
  const size = height * width * channels;
  const bytes = toBytes((await x.data()) as Float32Array);
  return Array.from({ length: count }, (_, i) => ({
    data: bytes.slice(i * size, (i + 1) * size),
    height,
    width,
    channels: channels as 1 | 3,
  }));
}

function disposeEncoded(encoded: readonly EncodedBatch[]): void {
  for (const { positive, negative } of encoded) {
    tf.dispose([...Object.values(positive), ...Object.values(negative ?? {})]);
  }
}

function toTensor({ shape, data }: HostTensor): tf.Tensor4D {
  return tf.tensor4d(data, shape as [number, number, number, number]);
}

async function toHost(tensor: tf.Tensor4D): Promise<HostTensor> {
  return { shape: tensor.shape, data: Float32Array.from(await tensor.data()) };
}
