import { type Denoiser, InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import { classifierFree } from '@mezzotint/guidance';
import {
  initialNoise,
  mixed,
  type NoiseSchedule,
  type NoiseSource,
  type Sampler,
  type SolverName,
  type Step,
  sample,
  solvers,
  standardNoise,
  startLevel,
  stepsOf,
} from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import type { Condition, PictureSize, PromptPair } from './condition.js';
import type { LatentParts } from './latent-model.js';
import { encodePicture, type Inpainting, inpaintingOf, type StartPicture } from './start.js';

/** How a latent image is made. */
export interface LatentPlan {
  readonly steps: number;
  /** Guidance scale; 1 is none. */
  readonly guidance: number;
  /** Share in which the guided prediction's deviation is brought back to the conditional one; 0 is none. */
  readonly guidanceRescale?: number;
  /** A solver in the place of the model's own. */
  readonly solver?: SolverName | undefined;
  readonly size: PictureSize;
  /** Image to image, and inpainting where it has a mask. */
  readonly start?: StartPicture | undefined;
  /** Where this model stops: the share of the noise that is left to another, in [0, 1); 0 when absent. */
  readonly leave?: number;
  /** A latent image that another model left at this share of the noise. */
  readonly from?: { readonly latents: tf.Tensor4D; readonly share: number } | undefined;
}

/** What a run tells while it works. */
export interface LatentHooks {
  readonly signal?: AbortSignal;
  readonly onStep?: (step: Step) => void;
}

/**
 * Makes latent images `[N, h, w, C]`, which the caller disposes. Noise is drawn as diffusers' pipelines draw it: the
 * picture's sample, the start's noise, the masked picture's sample, then what the solver asks for.
 *
 * @throws InvalidArgumentError when plan and model do not fit
 */
export async function sampleLatents(
  parts: Pick<LatentParts, 'unet' | 'vae' | 'sampler'>,
  { wanted, unwanted }: PromptPair,
  plan: LatentPlan,
  noise: NoiseSource,
  { signal, onStep }: LatentHooks = {},
): Promise<tf.Tensor4D> {
  checkPlan(parts, plan);
  const route = routeOf(parts, plan);
  const begun = begin(parts, plan, route, wanted.context.shape[0], noise);
  try {
    const model = estimates(parts, plan, unwanted, begun, route.sampler);
    const hooks = { ...(signal && { signal }), ...(onStep && { onStep }) };
    const { table, steps } = route;
    const { solver } = route.sampler;
    const end = await sample(solver, model, begun.x, table, wanted, { noise, steps, ...hooks });
    if (!begun.kept) return end;
    // What is outside the mask is the picture, clean also where the table's last row has noise left.
    const put = begun.kept.at(plan.leave ? startLevel(solver, table, steps.to) : { alpha: 1, sigma: 0 }, end);
    end.dispose();
    return put;
  } finally {
    begun.dispose();
  }
}

/** What decides whether a plan can be run: the picture that it starts from may not be read yet. */
export type PlanOutline = Omit<LatentPlan, 'start' | 'from'> & {
  readonly start?: { readonly strength: number; readonly mask?: unknown } | undefined;
  readonly from?: { readonly share: number } | undefined;
};

/**
 * Whether a model can run a plan; needs no weights.
 *
 * @throws InvalidArgumentError with everything that does not fit
 */
export function checkOutline(parts: Pick<LatentParts, 'unet' | 'vae' | 'sampler'>, plan: PlanOutline): void {
  checkPlan(parts, plan);
  routeOf(parts, plan);
}

/** Where a run begins. */
interface Begun {
  readonly x: tf.Tensor4D;
  /** The mask and what is behind it, for a UNet that sees them. */
  readonly seen?: Inpainting;
  /** What is outside the mask, where the UNet does not see it. */
  readonly kept?: Kept;
  dispose(): void;
}

/** The part of the picture that a mask protects. */
interface Kept {
  /** x inside the mask, the picture with the start's noise at this level outside. */
  at(level: NoiseLevel, x: tf.Tensor4D): tf.Tensor4D;
  /** A run at full strength begins with noise alone, outside the mask too: the level of that. */
  readonly pure: NoiseLevel | null;
}

function begin(
  parts: Pick<LatentParts, 'unet' | 'vae' | 'sampler'>,
  { from, start, size }: LatentPlan,
  { sampler, table, steps }: Route,
  count: number,
  noise: NoiseSource,
): Begun {
  const { vae } = parts;
  if (from) return { x: from.latents, dispose: () => {} };
  const [h, w] = [size.height / vae.downscale, size.width / vae.downscale];
  const shape: [number, number, number, number] = [count, h, w, vae.config.latentChannels];
  if (!start) {
    const x = initialNoise(table, shape, noise, { initNoiseSigma: sampler.initNoiseSigma(table) });
    return { x, dispose: () => x.dispose() };
  }
  const { image, mask, strength } = start;
  const seen = mask !== undefined && sees(parts);
  // Without a mask diffusers noises the picture even at full strength: a chain's first level need not be pure noise.
  const pure = mask !== undefined && strength === 1;
  // What nothing will be taken from is not encoded, so that the noise is drawn as diffusers draws it.
  const latents = seen && pure ? undefined : encodePicture(vae, image, count, noise);
  const level = startLevel(sampler.solver, table, steps.from);
  const z = standardNoise(shape, noise, level);
  const x = pure ? tf.mul<tf.Tensor4D>(z, sampler.initNoiseSigma(table)) : mixed(latents!, z, level);
  const inpainting = mask && inpaintingOf(vae, image, mask, count, noise);
  const kept: Kept | undefined =
    inpainting && !seen
      ? {
          at: (level, x) => tf.tidy(() => withinMask(x, mixed(latents!, z, level), inpainting)),
          pure: pure ? level : null,
        }
      : undefined;
  return {
    x,
    ...(inpainting && seen && { seen: inpainting }),
    ...(kept && { kept }),
    dispose: () => tf.dispose([x, z, latents, inpainting?.mask, inpainting?.masked].filter((t) => t !== undefined)),
  };
}

/** What the solver is given: the guided estimate of the clean latent image. */
function estimates(
  { unet }: Pick<LatentParts, 'unet'>,
  { guidance, guidanceRescale = 0 }: LatentPlan,
  unwanted: Condition,
  { seen, kept }: Begun,
  sampler: Sampler,
): Denoiser<Condition> {
  const plain = sampler.denoiser<Condition>((x, time, condition) =>
    unet.forward(seen ? tf.concat([x, seen.mask, seen.masked], 3) : x, time, condition),
  );
  const guided = classifierFree(plain, {
    scale: guidance,
    unconditional: unwanted,
    rescale: guidanceRescale,
    ...(guidanceRescale > 0 && { prediction: sampler.parameterisation }),
  });
  const model = sampler.finishEstimate(guided);
  if (!kept) return model;
  // As diffusers does after each step: outside the mask the network always sees the picture with the start's own noise. What the
  // solver has there is of no effect, as its steps do not mix pixels.
  return (x, at, condition) => tf.tidy(() => model(isAt(kept.pure, at) ? x : kept.at(at, x), at, condition));
}

function isAt(level: NoiseLevel | null, at: NoiseLevel): boolean {
  return level !== null && level.alpha === at.alpha && level.sigma === at.sigma;
}

/** Whether the UNet was made for inpainting: it sees the mask and the masked picture. */
function sees({ unet, vae }: Pick<LatentParts, 'unet' | 'vae'>): boolean {
  return unet.config.inChannels === 2 * vae.config.latentChannels + 1;
}

/** x inside the mask, the picture outside. */
function withinMask(x: tf.Tensor4D, known: tf.Tensor4D, { mask }: Inpainting): tf.Tensor4D {
  return tf.tidy(() => tf.add(known, tf.mul(mask, tf.sub(x, known))) as tf.Tensor4D);
}

/** A solver, its table, and the steps of it that a model makes. */
interface Route {
  readonly sampler: Sampler;
  readonly table: NoiseSchedule;
  readonly steps: { readonly from: number; readonly to: number };
}

/** The way that a model goes; the table is in the form that the solver knows. */
function routeOf(parts: Pick<LatentParts, 'sampler'>, plan: PlanOutline): Route {
  const { steps, start, leave = 0, from } = plan;
  const sampler = plan.solver === undefined ? parts.sampler : parts.sampler.withSolver(plan.solver);
  const { solver } = sampler;
  const table = sampler.schedule({ steps });
  const all = stepsOf(solver, table);
  // Steps at this share of the chain's times or above it.
  const above = (share: number) => {
    const cut = sampler.timeAt(share);
    return Array.from({ length: all }, (_, i) => startLevel(solver, table, i).time!).filter((t) => t >= cut).length;
  };
  const left = start ? steps - Math.min(Math.floor(steps * start.strength), steps) : 0;
  const range = { from: from ? above(from.share) : left, to: leave > 0 ? above(leave) : all };
  if (range.to <= range.from) {
    throw new InvalidArgumentError(
      'sampling',
      `no step is left of ${all}; take more steps, more strength or another hand-over`,
    );
  }
  return { sampler, table, steps: range };
}

/** The largest picture that is made: 8192 x 8192. */
const MOST_PIXELS = 2 ** 26;

function checkPlan(
  { unet, vae }: Pick<LatentParts, 'unet' | 'vae'>,
  { size, start, from, leave = 0, ...plan }: PlanOutline,
): void {
  const problems: string[] = [];
  const { height, width } = size;
  for (const [name, side] of Object.entries({ height, width })) {
    if (!(Number.isInteger(side) && side > 0 && side % vae.downscale === 0)) {
      problems.push(`${name}: expected a multiple of ${vae.downscale}, got ${side}`);
    }
  }
  if (height * width > MOST_PIXELS) {
    problems.push(`size: expected at most ${MOST_PIXELS} pixels, got ${height} x ${width}`);
  }
  if (start && !(start.strength > 0 && start.strength <= 1))
    problems.push(`strength: expected a number in (0, 1], got ${start.strength}`);
  if (start && from) problems.push('a run starts from a picture or from another model, not from both');
  const seen = sees({ unet, vae });
  if (!seen && unet.config.inChannels !== vae.config.latentChannels) {
    problems.push(`the UNet takes ${unet.config.inChannels} channels; known are latent images and those with a mask`);
  }
  if (seen && !start?.mask) problems.push('this model was made for inpainting: give it a picture and a mask');
  for (const share of [leave, from?.share ?? 0]) {
    if (!(share >= 0 && share < 1)) problems.push(`handover: expected a share of the noise in [0, 1), got ${share}`);
  }
  if (plan.solver && solvers[plan.solver].needs === 'variance') {
    problems.push(`${plan.solver} needs a network that learned the variance; latent models did not`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('sampling', problems);
}
