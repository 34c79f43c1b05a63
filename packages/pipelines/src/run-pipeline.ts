import type { HostTensor, NoiseLevel } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import {
  type Json,
  type NoiseSource,
  perImageNoise,
  type SavedRun,
  type Step,
  startLevel,
} from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { guidanceOf, needsEmpty, type RunGuidance } from './guidance.js';
import type { Parts } from './parts.js';
import { bitmapsOf, decoded, finishedPictures, type GeneratedImage } from './pictures.js';
import type { Prepared } from './prepare.js';
import {
  begin,
  checkFinite,
  finished,
  type Route,
  runStage,
  type StageRun,
  type Start,
  tensorsOf,
} from './run-stage.js';
import type { Batch, Conditions, EncodeContext, EncodedBatch, ImageJob, PipelineDefinition, Stage } from './stage.js';
import { pictureChannels, type StartPicture, startPicture } from './start.js';

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
  /** Told what a user should know of the run, such as the end of a prompt that was cut. */
  readonly onNote?: ((line: string) => void) | undefined;
  /** Noise of a batch in the place of that of its seeds. */
  readonly noise?: ((batch: Batch) => NoiseSource) | undefined;
  /**
   * Makes part i of n of the request's pictures, counted from 0: whole batches, so that each picture is the one that a run of all
   * would make.
   */
  readonly shard?: readonly [number, number] | undefined;
  /** Goes on with a run that was saved, of the same request (and shard). */
  readonly from?: SavedPipelineRun | undefined;
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
  /** The batch that goes on; one after the last where the stage is done. */
  readonly batch: number;
  /** null where the batch has not begun. */
  readonly run: SavedRun | null;
  /** What goes on in the network from step to step (RIN's latents); null where nothing does. */
  readonly network: readonly HostTensor[] | null;
  /** x of each batch after the stage before; null in the first. */
  readonly before: readonly (HostTensor | null)[];
  /** x of the batches that this stage is done with. */
  readonly done: readonly HostTensor[];
  /** The noise of each batch when the stage began, and of those that are done. */
  readonly noise: readonly Json[];
  readonly noiseAfter: readonly Json[];
  /** What guidance remembers (APG's momentum); absent where there is nothing. */
  readonly guidance?: Awaited<ReturnType<RunGuidance['save']>>;
}

/** What runs of all stages share. */
interface Shared {
  readonly definition: PipelineDefinition;
  readonly parts: Parts;
  readonly prepared: Prepared;
  readonly hooks: RunHooks;
  /** Free models as soon as their work is done. */
  readonly frees: boolean;
  readonly picture: StartPicture | null;
  /** The start picture of each batch, which a refiner keeps. */
  readonly starts: (Start | null)[];
  readonly noises: NoiseSource[];
  /** x of each batch after the stage before. */
  before: (tf.Tensor4D | null)[];
  /** x of the batches that this stage is done with. */
  after: tf.Tensor4D[];
}

/** Runs the stages one after the other, each over all batches, so that a model is loaded once. */
export async function* runPipeline(
  definition: PipelineDefinition,
  parts: Parts,
  prepared: Prepared,
  hooks: RunHooks,
  frees: boolean,
): AsyncGenerator<PipelineStep, void, undefined> {
  const { settings, batches, image, mask } = prepared;
  const { from } = hooks;
  const channels = pictureChannels(definition.stages[0]!, settings);
  const picture = image === null ? null : startPicture(image, mask ?? undefined, settings, channels);
  const shared: Shared = {
    ...{ definition, parts, prepared, hooks, frees, picture },
    starts: batches.map(() => null),
    noises: batches.map(hooks.noise ?? noiseOf),
    before: (from?.before ?? batches.map(() => null)).map((x) => (x === null ? null : toTensor(x))),
    after: (from?.done ?? []).map(toTensor),
  };
  try {
    for (let s = from?.stage ?? 0; s < definition.stages.length; s++) {
      yield* runBatches(shared, s);
      tf.dispose(shared.before.filter((x) => x !== null));
      shared.before = shared.after;
      shared.after = [];
    }
  } finally {
    for (const start of shared.starts) start?.dispose();
    const held = [...shared.before, ...shared.after, picture?.image, picture?.mask];
    tf.dispose(held.filter((t) => t !== null && t !== undefined));
  }
}

/** One stage over all batches: load and encode, free the text encoders, load the network, sample. */
async function* runBatches(shared: Shared, s: number): AsyncGenerator<PipelineStep, void, undefined> {
  const { definition, parts, prepared, hooks, noises, picture } = shared;
  const { stages } = definition;
  const { routes, stageSettings } = prepared;
  const stage = stages[s]!;
  const batches = prepared.batches.map((batch) => ({ ...batch, settings: stageSettings[s]! }));
  const previousLevel = s > 0 && stage.stopsPrevious?.(stageSettings[s]!) != null ? endLevel(routes[s - 1]!) : null;
  const resumed = hooks.from?.stage === s ? hooks.from : undefined;
  const handsOver = stages[s + 1]?.start === 'previous';
  const codecParts = stage.codec !== null && (picture !== null || !handsOver) ? stage.codec.parts : [];
  const loading = (done: number, total: number) => tell(hooks, 'loading', stage, done, total);
  // A refiner draws as a run of its own would; a cascade's later stages go on with the noise of the stage before.
  if (stage.start === 'previous') noises.splice(0, noises.length, ...batches.map(hooks.noise ?? noiseOf));
  resumed?.noise.forEach((state, b) => {
    noises[b]!.restore(state);
  });
  const noiseBefore = noises.map((noise) => noise.save());
  const encoded: EncodedBatch[] = [];
  /** Where the noise of each batch stands behind its conditions. */
  const noiseEncoded: Json[] = [];
  try {
    await parts.need(stage.parts.encode, loading);
    for (const [b, batch] of batches.entries()) {
      tell(hooks, 'encoding', stage, b, batches.length);
      if (stage.noiseBeforeConditions) {
        noises[b]!.draw([batch.images.length, ...stage.shape(batch.settings)], Number.POSITIVE_INFINITY, 0);
      }
      const like = stage.encodesTextOnly ? batches.findIndex((other) => askedAlike(other, batch)) : b;
      const given = { noise: noises[b]!, previous: shared.before[b] ?? null, previousLevel };
      encoded.push(like < b ? cloned(encoded[like]!) : await encodedBatch(stage, batch, given, hooks));
      noiseEncoded.push(noises[b]!.save());
      await checkFinite(stage.parts.encode.join(', '), ...tensorsOf(encoded[b]!));
    }
    tell(hooks, 'encoding', stage, batches.length, batches.length);
    if (shared.frees) parts.free(stage.parts.encode.filter((name) => !stage.parts.sample.includes(name)));
    await parts.need([...stage.parts.sample, ...codecParts], loading);
    for (const [b] of batches.entries()) {
      if (resumed !== undefined && b < resumed.batch) noises[b]!.restore(resumed.noiseAfter[b]!);
      else
        yield* runBatch(shared, s, b, encoded[b]!, {
          before: noiseBefore,
          encoded: noiseEncoded[b]!,
          saved: resumed?.batch === b ? resumed : null,
        });
    }
  } finally {
    for (const batch of encoded) tf.dispose(tensorsOf(batch));
  }
  if (shared.frees) {
    parts.free([...stage.parts.sample, ...codecParts].filter((name) => !neededLater(stages, s, name)));
  }
}

/** Where the noise of a batch stood, and where the batch goes on. */
interface BatchState {
  /** Of all batches, when the stage began. */
  readonly before: readonly Json[];
  /** Behind the conditions. */
  readonly encoded: Json;
  readonly saved: SavedPipelineRun | null;
}

/** The conditions of a batch, with those of no prompt where a guidance needs them. */
async function encodedBatch(
  stage: Stage,
  batch: Batch,
  given: Omit<EncodeContext, 'note'>,
  { onNote: note = () => {} }: RunHooks,
): Promise<EncodedBatch> {
  const { noise } = given;
  const before = noise.save();
  const encoded = await stage.encode(batch, { ...given, note });
  if (!needsEmpty(batch.settings)) return encoded;
  const after = noise.save();
  noise.restore(before);
  const images = batch.images.map((image) => ({ ...image, negative: null, secondNegative: null, thirdNegative: null }));
  const without = await stage.encode({ ...batch, images }, { ...given, note: () => {} });
  noise.restore(after);
  tf.dispose(Object.values(without.positive));
  return { ...encoded, empty: without.negative };
}

/** Whether the pictures of two batches differ in their seeds only. */
function askedAlike(a: Batch, b: Batch): boolean {
  const asked = ({ images }: Batch) => JSON.stringify(images.map(({ index: _, seed: __, ...texts }) => texts));
  return asked(a) === asked(b);
}

/** The same conditions in tensors of their own. */
function cloned({ positive, negative, empty }: EncodedBatch): EncodedBatch {
  const copy = (conditions: Conditions): Conditions =>
    Object.fromEntries(Object.entries(conditions).map(([name, tensor]) => [name, tf.clone(tensor)]));
  return { positive: copy(positive), negative: negative && copy(negative), ...(empty && { empty: copy(empty) }) };
}

/** One batch of a stage. */
async function* runBatch(
  shared: Shared,
  s: number,
  b: number,
  encoded: EncodedBatch,
  { before: noiseBefore, encoded: noiseEncoded, saved }: BatchState,
): AsyncGenerator<PipelineStep, void, undefined> {
  const { definition, parts, prepared, hooks, noises, starts, before, after, picture } = shared;
  const { batches, routes } = prepared;
  const settings = prepared.stageSettings[s]!;
  const batch = { ...batches[b]!, settings };
  const [stage, route, noise] = [definition.stages[s]!, routes[s]!, noises[b]!];
  const isLast = s + 1 === definition.stages.length;
  const handsOver = definition.stages[s + 1]?.start === 'previous';
  const continues = stage.start === 'previous' && before[b] !== null;
  if (continues && picture !== null) starts[b] ??= startAgain(shared, b);
  if (stage.noiseBeforeConditions) noise.restore(noiseBefore[b]!);
  const own = s === 0 ? picture : null;
  const laterKeeps = laterKeepsOutside(definition.stages);
  const begun = continues ? null : begin(stage, settings, route, batch.images.length, noise, own, laterKeeps);
  if (stage.noiseBeforeConditions) noise.restore(noiseEncoded);
  if (begun?.start) starts[b] = begun.start;
  const guidance = guidanceOf(stage, settings, encoded, route);
  if (saved?.guidance) guidance.restore(saved.guidance);
  const run: StageRun = {
    ...{ stage, batch, route, encoded, noise, guidance, signal: hooks.signal },
    // A later stage that goes on with noisy latents keeps mask and start of the first.
    start: s === 0 || continues ? starts[b]! : null,
    pure: begun?.pure ?? null,
    from: saved?.run ?? (continues ? before[b]! : begun!.x),
    network: saved?.network ?? null,
  };
  try {
    for await (const step of runStage(run)) {
      const what = `${stage.parts.sample.join(', ')}, step ${step.index + 1} of ${step.count}`;
      await checkFinite(what, step.x0, step.x);
      tell(hooks, 'sampling', stage, b * step.count + step.index + 1, batches.length * step.count);
      let images: GeneratedImage[] | null = null;
      let x = step.x;
      if (step.last) {
        x = finished(run, step.x, handsOver);
        after.push(x);
        // The network has done its work, and the autoencoder wants memory too.
        if (shared.frees && b + 1 === batches.length) {
          parts.free(
            stage.parts.sample.filter(
              (name) => !stage.codec?.parts.includes(name) && !neededLater(definition.stages, s, name),
            ),
          );
        }
        const told = (done: number) => tell(hooks, 'decoding', stage, done, batch.images.length);
        if (isLast) images = await finishedPictures(stage, x, batch, prepared, told);
        // Another stage is conditioned on pictures, not on latents.
        const pixels = isLast || handsOver || stage.codec === null ? x : await decoded(stage.codec, x, told);
        if (pixels !== x) {
          x.dispose();
          after[after.length - 1] = pixels;
          x = pixels;
        }
      }
      const done = step.last ? b + 1 : b;
      const save = async (): Promise<SavedPipelineRun> => ({
        stage: s,
        batch: done,
        run: step.last ? null : await step.save(),
        network: step.last ? null : await step.saveNetwork(),
        before: await Promise.all(before.map((t) => (t === null ? null : toHost(t)))),
        done: await Promise.all(after.slice(0, done).map(toHost)),
        noise: noiseBefore,
        noiseAfter: noises.slice(0, done).map((other) => other.save()),
        ...(settings.guide && !step.last && { guidance: await guidance.save() }),
      });
      yield pipelineStep(stage, batch, { ...step, x }, images, save);
    }
  } finally {
    guidance.dispose();
    begun?.x.dispose();
  }
}

/** The noise that is left where a route ends; null where there is none. */
function endLevel({ sampler, schedule, steps }: Route): NoiseLevel | null {
  const level = startLevel(sampler.solver, schedule, steps.to);
  return level.sigma === 0 ? null : level;
}

/** Whether the second stage goes on with the first one's latents and does not see the mask: SDXL's refiner. */
function laterKeepsOutside([, next]: readonly Stage[]): boolean {
  return next?.start === 'previous' && next.seesMask !== true;
}

/** The start picture of a batch once more, for a run that goes on in a later stage. */
function startAgain({ definition, prepared, picture }: Shared, b: number): Start | null {
  const { settings, batches, routes } = prepared;
  const begun = begin(
    definition.stages[0]!,
    settings,
    routes[0]!,
    batches[b]!.images.length,
    noiseOf(batches[b]!),
    picture,
    laterKeepsOutside(definition.stages),
  );
  begun.x.dispose();
  return begun.start;
}

/** Tells how far the run is. Throws the signal's reason when it was asked to stop. */
function tell(
  { onProgress, signal }: RunHooks,
  phase: Progress['phase'],
  stage: Stage,
  done: number,
  total: number,
): void {
  onProgress?.({ phase, stage: stage.name, done, total });
  signal?.throwIfAborted();
}

/** Each picture has a stream of its own, so that it does not depend on its batch. */
function noiseOf({ images }: Batch): NoiseSource {
  return perImageNoise(images.map(({ seed }) => seed));
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

function toTensor({ shape, data }: HostTensor): tf.Tensor4D {
  return tf.tensor4d(data, shape as [number, number, number, number]);
}

async function toHost(tensor: tf.Tensor4D): Promise<HostTensor> {
  return { shape: tensor.shape, data: Float32Array.from(await tensor.data()) };
}
