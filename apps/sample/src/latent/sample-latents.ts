import { type Denoiser, InvalidArgumentError } from '@mezzotint/core';
import { classifierFree } from '@mezzotint/guidance';
import {
  clamped,
  convertTable,
  denoiser,
  initialNoise,
  type Kind,
  type Network,
  type NoiseSource,
  noised,
  type Solver,
  type SolverName,
  type Step,
  sample,
  solvers,
  type Table,
  tableRows,
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
  const solver = solverOf(parts, plan);
  const table = rowsOf(parts, solver, plan);
  const begun = begin(parts, plan, table, wanted.context.shape[0], noise);
  try {
    const model = estimates(parts, plan, unwanted, begun);
    const hooks = { ...(signal && { signal }), ...(onStep && { onStep }) };
    const end = await sample(solver, model, begun.x, table, wanted, { noise, ...hooks });
    if (!begun.known || plan.leave) return end;
    const clean = withinMask(end, begun.known, begun.inpainting!); // a table's last row may have noise left
    end.dispose();
    return clean;
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
  rowsOf(parts, solverOf(parts, plan), plan);
}

/** Where a run begins. */
interface Begun {
  readonly x: tf.Tensor4D;
  readonly inpainting?: Inpainting;
  /** The picture's latent image, where the UNet does not see the mask and the estimates must keep what is outside. */
  readonly known?: tf.Tensor4D;
  dispose(): void;
}

function begin(
  parts: Pick<LatentParts, 'unet' | 'vae' | 'sampler'>,
  { from, start, size }: LatentPlan,
  table: Table,
  count: number,
  noise: NoiseSource,
): Begun {
  const { vae, sampler } = parts;
  if (from) return { x: from.latents, dispose: () => {} };
  const [h, w] = [size.height / vae.downscale, size.width / vae.downscale];
  const fresh = () => initialNoise(table, [count, h, w, vae.config.latentChannels], noise, { scale: sampler.start });
  if (!start) {
    const x = fresh();
    return { x, dispose: () => x.dispose() };
  }
  const { image, mask, strength } = start;
  const seen = mask !== undefined && sees(parts);
  // What nothing will be taken from is not encoded, so that the noise is drawn as diffusers draws it.
  const latents = seen && strength === 1 ? undefined : encodePicture(vae, image, count, noise);
  // Without a mask diffusers noises the picture even at full strength: a chain's first level need not be pure noise.
  const x = mask !== undefined && strength === 1 ? fresh() : noised(latents!, table, noise);
  const inpainting = mask && inpaintingOf(vae, image, mask, count, noise);
  return {
    x,
    ...(inpainting && { inpainting, ...(!seen && { known: latents! }) }),
    dispose: () => tf.dispose([x, latents, inpainting?.mask, inpainting?.masked].filter((t) => t !== undefined)),
  };
}

/** The guided estimate of the clean latent image. */
function estimates(
  { unet, sampler }: Pick<LatentParts, 'unet' | 'sampler'>,
  { guidance, guidanceRescale = 0 }: LatentPlan,
  unwanted: Condition,
  { inpainting, known }: Begun,
): Denoiser<Condition> {
  const network: Network<Condition> = (x, time, condition) =>
    unet.forward(inpainting && !known ? tf.concat([x, inpainting.mask, inpainting.masked], 3) : x, time, condition);
  const plain = denoiser(network, sampler.parameterisation, { clock: sampler.clock });
  const guided = classifierFree(plain, {
    scale: guidance,
    unconditional: unwanted,
    rescale: guidanceRescale,
    ...(guidanceRescale > 0 && { prediction: sampler.parameterisation }),
  });
  // What is outside the mask is known: its estimate is the picture, and so the noise there stays the start's own.
  const kept: Denoiser<Condition> = known
    ? (x, at, condition) => tf.tidy(() => withinMask(guided(x, at, condition), known, inpainting!))
    : guided;
  return sampler.clip === null ? kept : clamped(kept, sampler.clip);
}

/** Whether the UNet was made for inpainting: it sees the mask and the masked picture. */
function sees({ unet, vae }: Pick<LatentParts, 'unet' | 'vae'>): boolean {
  return unet.config.inChannels === 2 * vae.config.latentChannels + 1;
}

/** x inside the mask, the picture outside. */
function withinMask(x: tf.Tensor4D, known: tf.Tensor4D, { mask }: Inpainting): tf.Tensor4D {
  return tf.tidy(() => tf.add(known, tf.mul(mask, tf.sub(x, known))) as tf.Tensor4D);
}

/** The solver that was asked for, else the model's own. */
function solverOf({ sampler }: Pick<LatentParts, 'sampler'>, { solver }: PlanOutline): Solver<Kind, 'estimate'> {
  return solver === undefined ? sampler.solver : (solvers[solver].create() as Solver<Kind, 'estimate'>);
}

/** The rows of the table that this model runs on, in the form that the solver knows. */
function rowsOf(
  { sampler }: Pick<LatentParts, 'sampler'>,
  solver: Solver<Kind, 'estimate'>,
  { steps, start, leave = 0, from }: PlanOutline,
): Table {
  const whole = sampler.table(steps);
  const last = whole.alpha.length - 1;
  const first = start ? last - Math.min(Math.floor(last * start.strength), last) : 0;
  const begin = from ? rowsAbove(sampler, whole, from.share) : first;
  const end = leave > 0 ? rowsAbove(sampler, whole, leave) : last;
  if (end <= begin) {
    throw new InvalidArgumentError(
      'sampling',
      `no step is left of ${last}; take more steps, more strength or another hand-over`,
    );
  }
  const rows = tableRows(whole, begin, end);
  const kind = solver.kinds.find((kind) => kind === rows.kind) ?? solver.kinds[0]!;
  return kind === rows.kind ? rows : convertTable(rows, kind);
}

/** How many rows have at least this share of the chain's times. */
function rowsAbove({ process }: Pick<LatentParts['sampler'], 'process'>, { time }: Table, share: number): number {
  const cut = Math.round(process.alpha.length * share);
  return Array.from(time!.slice(0, -1)).filter((t) => t >= cut).length;
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
