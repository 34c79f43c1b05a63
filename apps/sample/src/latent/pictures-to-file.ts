import { resolve } from 'node:path';
import { type CommandContext, startProgress } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { imageGrid, toBytes, writePng } from '@mezzotint/data';
import { perImageNoise } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { decodeLatents } from './decode.js';
import type { LatentModel } from './latent-model.js';
import { openPipelineFolder } from './open-folder.js';
import { checkInputs, RECIPE_KEY, type Recipe } from './recipe.js';
import { checkFlags, type PromptSettings, parseLora, recipeOf } from './recipe-of.js';
import { type LatentHooks, type LatentPlan, sampleLatents } from './sample-latents.js';
import { readStartPicture } from './start-picture.js';

/** Makes pictures of a prompt, writes them into one PNG with their recipe, and says where it is. */
export async function picturesToFile(
  settings: PromptSettings,
  { signal, say, result }: CommandContext,
  replayed?: Recipe,
): Promise<void> {
  checkFlags(settings);
  const engine = await useBackend({ engine: settings.engine });
  const loras = (settings.lora ?? []).map(parseLora);
  const { model: path, parts, variant } = settings;
  const model = await openPipelineFolder(parts ?? path, { variant, loras, ...(parts && { file: path }) });
  const versions = { tfjs: tf.version_core, [engine.name]: engine.version, node: process.versions.node };
  let recipe: Recipe;
  try {
    recipe = await recipeOf(settings, model, loras, { name: engine.name, versions });
    if (replayed) checkInputs(replayed, recipe);
  } catch (error) {
    model.dispose();
    throw error;
  }
  const started = performance.now();
  const progress = startProgress('Sampling', 1);
  let done = 0;
  const rounds = Math.ceil(recipe.count / recipe.batch) * (recipe.refiner === null ? 1 : 2);
  const onStep: LatentHooks['onStep'] = ({ count }) => progress.update(++done, count * rounds);
  let images: Uint8Array;
  try {
    images = await makePictures(model, recipe, { signal, onStep });
  } finally {
    progress.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  const { count, height, width, columns, scale } = recipe;
  const grid = imageGrid(
    { images, count, height, width, channels: 3 },
    { columns, scale, padding: count === 1 ? 0 : 2 },
  );
  const text = { [RECIPE_KEY]: JSON.stringify(recipe) };
  await writePng(settings.out, grid, { overwrite: settings.overwrite ?? false, text });
  say(`${count} picture${count === 1 ? '' : 's'} in ${seconds.toFixed(1)} s`);
  say(`Engine: ${engine.name} ${engine.version} (${engine.device})`);
  say(`Picture: ${resolve(settings.out)}`);
  result({ file: resolve(settings.out), seconds, ...recipe });
}

/** The pictures of a recipe as bytes `[N, H, W, 3]`. Disposes the model; its refiner is opened after that. */
async function makePictures(model: LatentModel, recipe: Recipe, hooks: LatentHooks): Promise<Uint8Array> {
  const { refiner, handover, image, mask, strength, height, width } = recipe;
  const size = { height, width };
  const start = image === null ? undefined : await readStartPicture(image.path, mask?.path ?? null, strength!, size);
  const plan: LatentPlan = {
    steps: recipe.steps,
    guidance: recipe.guidance,
    guidanceRescale: recipe.guidanceRescale,
    solver: recipe.solver ?? undefined,
    size,
  };
  let last = model;
  let latents: tf.Tensor4D[] = [];
  try {
    const seeds = batchesOf(recipe);
    latents = await runModel(
      model,
      recipe,
      seeds.map(() => ({ ...plan, start, leave: handover })),
      seeds,
      hooks,
    );
    if (refiner !== null) {
      model.dispose();
      last = await openPipelineFolder(refiner.path, { variant: recipe.variant ?? undefined });
      const plans = latents.map((latents) => ({ ...plan, from: { latents, share: handover } }));
      const refined = await runModel(last, recipe, plans, seeds, hooks);
      tf.dispose(latents);
      latents = refined;
    }
    const pictures: Uint8Array[] = [];
    for (const batch of latents) pictures.push(toBytes(await decodeLatents(last.vae, batch)));
    return new Uint8Array(Buffer.concat(pictures));
  } finally {
    last.dispose();
    tf.dispose([...latents, ...[start?.image, start?.mask].filter((t) => t !== undefined)]);
  }
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
  hooks: LatentHooks,
): Promise<tf.Tensor4D[]> {
  const pairs = batches.map((seeds, i) => model.encode({ prompts: seeds.map(() => prompt), negative }, plans[i]!.size));
  model.disposeText();
  const latents: tf.Tensor4D[] = [];
  try {
    for (const [i, pair] of pairs.entries()) {
      latents.push(await sampleLatents(model, pair, plans[i]!, perImageNoise(batches[i]!), hooks));
    }
    return latents;
  } catch (error) {
    tf.dispose(latents);
    throw error;
  } finally {
    for (const { wanted, unwanted } of pairs) tf.dispose([{ ...wanted }, { ...unwanted }] as tf.TensorContainer);
  }
}
