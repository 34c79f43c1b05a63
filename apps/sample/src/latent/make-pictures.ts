import type { JobContext } from '@mezzotint/backend/worker';
import { InvalidArgumentError } from '@mezzotint/core';
import { toBytes } from '@mezzotint/data';
import { perImageNoise } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { decodeLatents } from './decode.js';
import type { LatentModel } from './latent-model.js';
import { type ModelPlace, openLoaded, openModel } from './open-model.js';
import { checkInputs, type Recipe } from './recipe.js';
import { type PromptSettings, recipeOf } from './recipe-of.js';
import { checkOutline, type LatentPlan, sampleLatents } from './sample-latents.js';
import type { StageReport, Tell } from './stages.js';
import { readStartPicture } from './start-picture.js';
import { loadModel, parseLora } from './unloaded.js';

/** What is to be made: settings, and the recipe that they must keep to when a picture is made again. */
export interface PictureOrder {
  readonly settings: PromptSettings;
  readonly replayed?: Recipe | undefined;
}

/** Pictures as bytes `[N, H, W, 3]`, what they were made from, and how long it took without opening the model. */
export interface MadePictures {
  readonly images: Uint8Array;
  readonly recipe: Recipe;
  /** What a model in one file was taken for, and why; null where a folder said it. */
  readonly taken: string | null;
  readonly seconds: number;
}

/** What a run reports to, and stops by. */
interface RunHooks {
  readonly tell: Tell;
  readonly signal: AbortSignal;
}

/** The engine thread's job that opens the model, makes the pictures and frees the model. */
export async function makePictures(
  { settings, replayed }: PictureOrder,
  { signal, engine, report }: JobContext<StageReport>,
): Promise<MadePictures> {
  const tell: Tell = (stage, done, total) => {
    report({ stage, done, total });
    signal.throwIfAborted();
  };
  const loras = (settings.lora ?? []).map(parseLora);
  const { model: path, parts, variant, tokenizer, prediction } = settings;
  const unloaded = await openModel({ path, parts, variant, tokenizer, prediction });
  const { taken } = unloaded;
  const versions = { tfjs: tf.version_core, [engine.name]: engine.version, node: process.versions.node };
  let recipe: Recipe;
  try {
    // All that can be known without weights is checked before minutes go into them.
    recipe = await recipeOf(settings, unloaded.model, loras, { name: engine.name, versions });
    if (replayed) checkInputs(replayed, recipe);
    await checkRun(unloaded.model, recipe);
  } catch (error) {
    unloaded.close();
    throw error;
  }
  const model = await loadModel(unloaded, loras, { tell, weights: recipe.weights ?? undefined });
  const started = performance.now();
  const images = await picturesOf(model, recipe, { tell, signal });
  return { images, recipe, taken, seconds: (performance.now() - started) / 1000 };
}

/** Throws an InvalidArgumentError when a model, or the refiner after it, cannot do what a recipe asks for. */
async function checkRun(model: LatentModel, recipe: Recipe): Promise<void> {
  const { refiner, handover, strength, mask, height, width, steps, guidance, solver } = recipe;
  const outline = { steps, guidance, solver: solver ?? undefined, size: { height, width } };
  const start = strength === null ? undefined : { strength, mask: mask ?? undefined };
  checkOutline(model, { ...outline, start, leave: handover });
  if (refiner === null) return;
  const second = await openModel(refinerPlace(refiner.path, recipe));
  second.close();
  const [a, b] = [model.vae, second.model.vae];
  const same = a.downscale === b.downscale && a.config.latentChannels === b.config.latentChannels;
  if (!same || a.config.scalingFactor !== b.config.scalingFactor) {
    throw new InvalidArgumentError('--refiner', `${refiner.path} has other latent images than ${recipe.model.path}`);
  }
  checkOutline(second.model, { ...outline, from: { share: handover } });
}

/** The pictures of a recipe. Disposes the model; its refiner is opened after that. */
async function picturesOf(model: LatentModel, recipe: Recipe, hooks: RunHooks): Promise<Uint8Array> {
  const { refiner, handover, image, mask, strength, height, width } = recipe;
  const { tell } = hooks;
  let last = model;
  let latents: tf.Tensor4D[] = [];
  let start: LatentPlan['start'];
  try {
    const size = { height, width };
    start = image === null ? undefined : await readStartPicture(image.path, mask?.path ?? null, strength!, size);
    const plan: LatentPlan = {
      steps: recipe.steps,
      guidance: recipe.guidance,
      guidanceRescale: recipe.guidanceRescale,
      solver: recipe.solver ?? undefined,
      size,
    };
    const seeds = batchesOf(recipe);
    const plans = seeds.map(() => ({ ...plan, start, leave: handover }));
    latents = await runModel(model, recipe, plans, seeds, hooks);
    if (refiner !== null) {
      model.dispose();
      last = await openLoaded(refinerPlace(refiner.path, recipe), [], { tell, weights: recipe.weights ?? undefined });
      const plans = latents.map((latents) => ({ ...plan, from: { latents, share: handover } }));
      const refined = await runModel(last, recipe, plans, seeds, hooks);
      tf.dispose(latents);
      latents = refined;
    }
    const pictures: Uint8Array[] = [];
    for (const batch of latents) {
      const decoded = (done: number) => tell('Decoding', pictures.length * recipe.batch + done, recipe.count);
      pictures.push(toBytes(await decodeLatents(last.vae, batch, decoded)));
    }
    return new Uint8Array(Buffer.concat(pictures));
  } finally {
    last.dispose();
    tf.dispose([...latents, ...[start?.image, start?.mask].filter((t) => t !== undefined)]);
  }
}

/** Where the refiner of a recipe is. It is an SDXL, whose prediction and words are those of the base. */
function refinerPlace(path: string, { variant, tokenizer, prediction }: Recipe): ModelPlace {
  return {
    ...{ path, variant: variant ?? undefined },
    ...{ tokenizer: tokenizer?.path, prediction: prediction ?? undefined },
  };
}

/** Image i of a recipe has the seed `seed + i`. */
function batchesOf({ seed, count, batch }: Recipe): number[][] {
  return Array.from({ length: Math.ceil(count / batch) }, (_, b) =>
    Array.from({ length: Math.min(batch, count - b * batch) }, (_, i) => seed + b * batch + i),
  );
}

/** One model's part of the way, for each batch. Text encoders are freed before the UNet begins. */
async function runModel(
  model: LatentModel,
  { prompt, negative }: Recipe,
  plans: readonly LatentPlan[],
  batches: readonly (readonly number[])[],
  { tell, signal }: RunHooks,
): Promise<tf.Tensor4D[]> {
  const pairs: ReturnType<LatentModel['encode']>[] = [];
  const latents: tf.Tensor4D[] = [];
  try {
    for (const [i, seeds] of batches.entries()) {
      tell('Encoding', i, batches.length);
      pairs.push(model.encode({ prompts: seeds.map(() => prompt), negative }, plans[i]!.size));
    }
    tell('Encoding', batches.length, batches.length);
    model.disposeText();
    for (const [i, pair] of pairs.entries()) {
      const onStep = ({ index, count }: { readonly index: number; readonly count: number }) =>
        tell('Sampling', i * count + index + 1, batches.length * count);
      latents.push(await sampleLatents(model, pair, plans[i]!, perImageNoise(batches[i]!), { signal, onStep }));
    }
    return latents;
  } catch (error) {
    tf.dispose(latents);
    throw error;
  } finally {
    for (const { wanted, unwanted } of pairs) tf.dispose([{ ...wanted }, { ...unwanted }] as tf.TensorContainer);
  }
}
