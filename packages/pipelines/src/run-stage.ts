import {
  conditionMemory,
  type Denoiser,
  type HostTensor,
  InvalidArgumentError,
  MezzotintError,
  type NoiseLevel,
  withConditionMemory,
} from '@mezzotint/core';
import {
  type Clipping,
  checkPair,
  initialNoise,
  type ModelFor,
  mixed,
  type Need,
  type NoiseSource,
  perImageNoise,
  run,
  type Sampler,
  type SavedRun,
  type Step,
  standardNoise,
  startLevel,
  stepsOf,
} from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import type { RunGuidance } from './guidance.js';
import type { Settings } from './request.js';
import type { Batch, Conditions, EncodedBatch, Inpainting, Stage } from './stage.js';
import { inpaintingOf, outsideMask, pixelCodec, repeated, type StartPicture } from './start.js';

/** How a stage is run: its sampler with the solver that was asked for, the schedule, and which steps are made. */
export interface Route {
  readonly sampler: Sampler;
  readonly schedule: ReturnType<Sampler['schedule']>;
  readonly steps: { readonly from: number; readonly to: number };
}

/**
 * The way that a stage goes.
 *
 * @param place where it stands among the stages; what hands over stops at `denoisingEnd`
 * @throws InvalidArgumentError when settings and sampler do not fit
 */
export function routeOf(stage: Stage, settings: Settings, place: Place): Route {
  const { steps, solver, solverOptions, strength, threshold, denoisingEnd = 0.8 } = settings;
  if (solver === undefined && solverOptions !== undefined) {
    throw new InvalidArgumentError('solverOptions', 'needs a solver that they are for: name one with solver');
  }
  const solved = solver === undefined ? stage.sampler : stage.sampler.withSolver(solver, solverOptions ?? {});
  const sampler = threshold === undefined ? solved : solved.withLimit(limitOf(threshold));
  const tokens = stage.tokens?.(settings);
  // Only the first stage starts from the picture; those behind it in a cascade start from noise alone.
  const kept = place.first ? strength : undefined;
  const spreads =
    stage.spreadsStrength === true && solver === undefined && sampler.spreadsStrength && settings.mask === undefined;
  const schedule = sampler.schedule({ steps, tokens, ...(spreads && { strength: kept }) });
  checkPair(sampler.solver, schedule, perImageNoise([0]));
  const all = stepsOf(sampler.solver, schedule);
  // Steps that take x at this time of the forward process or above it.
  const above = (fraction: number) => {
    const cut = sampler.timeAt(fraction);
    return Array.from({ length: all }, (_, i) => startLevel(sampler.solver, schedule, i)).filter(
      (level) => (level.time ?? sampler.timeOf(level)) >= cut,
    ).length;
  };
  const skipped = kept === undefined || spreads ? 0 : skippedSteps(stage, steps, kept);
  const from = stage.start === 'previous' ? above(1 - denoisingEnd) : skipped;
  const to = place.handsOver ? above(1 - denoisingEnd) : stepsAbove(sampler, schedule, all, place.stopsAt);
  if (to <= from) {
    throw new InvalidArgumentError(
      'request',
      `no step is left of ${all} for ${stage.name}; take more steps, more strength or another denoisingEnd`,
    );
  }
  return { sampler, schedule, steps: { from, to } };
}

/** Where a stage stands among the others. */
export interface Place {
  /** It begins the picture: with noise, or with the noised start picture. */
  readonly first: boolean;
  /** Another stage goes on with its noisy latents. */
  readonly handsOver: boolean;
  /** It stops at this noise ratio sigma / alpha, which the next stage is conditioned on; null: it goes to its end. */
  readonly stopsAt: number | null;
}

/** Steps until the noise ratio is first no higher than where the run stops; all, where that is not within the schedule. */
function stepsAbove(sampler: Sampler, schedule: Route['schedule'], all: number, stopsAt: number | null): number {
  if (stopsAt === null) return all;
  const first = Array.from({ length: all }, (_, i) => startLevel(sampler.solver, schedule, i)).findIndex(
    ({ alpha, sigma }) => sigma <= stopsAt * alpha,
  );
  return first < 0 ? all : first;
}

/** Dynamic thresholding at a quantile (Imagen, section 2.3), or clipping to [-1, 1] for 0. */
export function limitOf(quantile: number): Clipping {
  return quantile === 0 ? { kind: 'clip', range: 1 } : { kind: 'threshold', quantile, max: Number.MAX_VALUE };
}

/** Steps that are left out where a picture is made anew in part. */
function skippedSteps({ strengthRounds = 'floor' }: Stage, steps: number, strength: number): number {
  if (strengthRounds === 'floor') return steps - Math.min(Math.floor(steps * strength), steps);
  return Math.floor(Math.max(steps - Math.min(steps * strength, steps), 0));
}

/** The start picture as a run uses it; kept for all stages of a batch. */
export interface Start {
  /** The picture's latent images, or its pixels for a model of pixels; null where none is read. */
  readonly latents: tf.Tensor4D | null;
  /** The noise that the run began with. */
  readonly z: tf.Tensor4D;
  readonly inpainting: Inpainting | null;
  dispose(): void;
}

/** Where a stage begins. */
export interface Begun {
  readonly x: tf.Tensor4D;
  /** The level of a run that begins with noise alone, outside the mask too; null elsewhere. */
  readonly pure: NoiseLevel | null;
}

/**
 * Where the first stage begins: noise, or the noised picture. Noise is drawn as diffusers' pipelines draw it: the picture's
 * sample, the start's noise, the masked picture's sample, then what the solver asks for.
 *
 * @param laterKeeps a later stage goes on with these latents that does not see the mask, so that it needs the picture's; where this
 *   stage needs none, they are drawn after all else
 */
export function begin(
  stage: Stage,
  settings: Settings,
  { sampler, schedule, steps }: Route,
  count: number,
  noise: NoiseSource,
  picture: StartPicture | null,
  laterKeeps = false,
): Begun & { readonly start: Start | null } {
  const shape: [number, number, number, number] = [count, ...stage.shape(settings)];
  const sigma = sampler.initNoiseSigma(schedule);
  if (picture === null) {
    return { x: initialNoise(schedule, shape, noise, { initNoiseSigma: sigma }), pure: null, start: null };
  }
  const codec = stage.codec ?? pixelCodec;
  const { mask } = picture;
  const sees = mask !== null && stage.seesMask === true;
  // Without a mask diffusers noises the picture even at full strength: the first level of a schedule need not be pure noise.
  const pure = mask !== null && (settings.strength ?? 1) === 1;
  // Skip encoding when no step reads it, so that the noise is drawn as diffusers draws it.
  const encoded = () => tf.tidy(() => codec.encode(repeated(picture.image, count), noise));
  const own = sees && pure ? null : encoded();
  const level = startLevel(sampler.solver, schedule, steps.from);
  const z = standardNoise(shape, noise, level);
  const x = pure ? tf.mul<tf.Tensor4D>(z, sigma) : mixed(own!, z, level);
  const inpainting = mask === null ? null : inpaintingOf(codec, picture, count, noise);
  const latents = own ?? (laterKeeps ? encoded() : null);
  const held = [z, latents, inpainting?.mask, inpainting?.masked].filter((t) => t !== null && t !== undefined);
  return {
    x,
    pure: pure && !sees ? level : null,
    start: { latents, z, inpainting, dispose: () => tf.dispose(held) },
  };
}

/** What a run of a stage is given. */
export interface StageRun {
  readonly stage: Stage;
  readonly batch: Batch;
  readonly route: Route;
  readonly encoded: EncodedBatch;
  readonly noise: NoiseSource;
  readonly guidance: RunGuidance;
  readonly start: Start | null;
  readonly pure: NoiseLevel | null;
  readonly from: tf.Tensor4D | SavedRun;
  /** What the network of a saved run left for the next step; null where the run begins or nothing goes on. */
  readonly network: readonly HostTensor[] | null;
  readonly signal?: AbortSignal | undefined;
}

/** A step of a stage. */
export interface StageStep extends Step {
  /** What goes on in the network from this step to the next; null where nothing does. */
  saveNetwork(): Promise<readonly HostTensor[] | null>;
}

/** Yields the steps of a stage for a batch. */
export async function* runStage({
  stage,
  batch,
  route,
  encoded,
  noise,
  guidance,
  start,
  pure,
  from,
  network: saved,
  signal,
}: StageRun): AsyncGenerator<StageStep> {
  const { sampler, schedule, steps } = route;
  const sees = stage.seesMask === true;
  const network = stage.network({
    batch,
    inpainting: sees ? (start?.inpainting ?? null) : null,
    from: saved ?? undefined,
  });
  const model = sampler.model<Conditions>(network, guidance.guide, guidance.after);
  const inside = keepsOutside(stage, start) ? withPicture(model, start!, pure) : model;
  const options = { noise, steps, ...(signal && { signal }) };
  const memory = conditionMemory(tensorsOf(encoded));
  const remembering = ((x, at, cond) =>
    withConditionMemory(memory, () => (inside as Denoiser<Conditions>)(x, at, cond))) as typeof inside;
  const all = run<typeof schedule.kind, Need, Conditions>(
    sampler.solver,
    remembering,
    from,
    schedule,
    encoded.positive,
    options,
  );
  const saveNetwork = async () => (await network.save?.()) ?? null;
  try {
    for await (const step of all) yield { ...step, saveNetwork };
  } finally {
    network.dispose?.();
    memory.dispose();
  }
}

/** All conditions of a batch. */
export function tensorsOf({ positive, negative, empty }: EncodedBatch): tf.Tensor[] {
  return [positive, negative ?? {}, empty ?? {}].flatMap((conditions) => Object.values(conditions));
}

/** Whether a mask protects a part of the picture that the network does not see. */
function keepsOutside(stage: Stage, start: Start | null): boolean {
  return start?.inpainting != null && stage.seesMask !== true && start.latents !== null;
}

/**
 * As diffusers does after each step: outside the mask the network always sees the picture with the start's own noise. What the
 * solver has there is of no effect, as its steps do not mix pixels.
 */
function withPicture<C>(model: ModelFor<Need, C>, start: Start, pure: NoiseLevel | null): ModelFor<Need, C> {
  const shown = (x: tf.Tensor4D, at: NoiseLevel) =>
    pure !== null && pure.alpha === at.alpha && pure.sigma === at.sigma
      ? x
      : outsideMask(x, start.inpainting!, start.latents!, start.z, at);
  return ((x, at, cond) => tf.tidy(() => (model as Denoiser<C>)(shown(x, at), at, cond))) as Denoiser<C>;
}

/** The result of a stage: outside the mask the picture itself, clean also where the schedule's last row has noise left. */
export function finished({ stage, route, start }: StageRun, x: tf.Tensor4D, handsOver: boolean): tf.Tensor4D {
  if (!keepsOutside(stage, start)) return tf.clone(x);
  const { sampler, schedule, steps } = route;
  const level = handsOver ? startLevel(sampler.solver, schedule, steps.to) : { alpha: 1, sigma: 0 };
  return outsideMask(x, start!.inpainting!, start!.latents!, start!.z, level);
}

/**
 * Throws a MezzotintError that names what made numbers that are not finite.
 *
 * @param what for example `unet, step 3 of 20`
 */
export async function checkFinite(what: string, ...tensors: readonly tf.Tensor[]): Promise<void> {
  for (const tensor of tensors) {
    const zero = tf.tidy(() => tf.sum(tf.mul(tensor, 0))); // 0, or NaN where any number is not finite
    const [value] = await zero.data();
    zero.dispose();
    if (value !== 0) {
      throw new MezzotintError(
        'MEZZOTINT_NOT_FINITE',
        `${what}: gives numbers that are not finite; its weights hold such numbers, or a LoRA is far too strong`,
      );
    }
  }
}
