import { existsSync, mkdirSync, statSync } from 'node:fs';
import { basename, extname, join, resolve } from 'node:path';
import { prepareOutput } from '@mezzotint/app/terminal';
import { InvalidArgumentError, listed } from '@mezzotint/core';
import { stackPictures, writePng } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import { type GeneratedImage, type ImageJob, RECIPE_KEY, type Recipe, recipeOfImage } from '@mezzotint/pipelines';
import type { MadePictures, PictureRequest } from './make-pictures.js';
import type { SampleSettings } from './settings.js';

/** Whether an output is a folder: it is one, ends with a slash, or has no extension. */
export function isFolder(out: string): boolean {
  return statSync(out, { throwIfNoEntry: false })?.isDirectory() || /[\\/]$/.test(out) || extname(out) === '';
}

/** Makes sure, before any long work, that the output may be written. */
export function prepareOut({ app: { out, preview, overwrite = false }, shard }: SampleSettings): void {
  if (preview !== undefined) prepareOutput(preview, true);
  if (isFolder(out)) {
    prepareOutput(join(out, 'x'), true);
    return;
  }
  if (shard !== undefined) {
    const problem = `expected a folder, as each process makes a part of the pictures (${shard.join('/')}), got ${out}`;
    throw new InvalidArgumentError('--out', problem);
  }
  if (extname(out).toLowerCase() !== '.png')
    throw new InvalidArgumentError('--out', `expected a .png or a folder, got ${out}`);
  prepareOutput(out, overwrite);
}

/** A folder of single pictures. */
type Folder = NonNullable<PictureRequest['folder']>;

function fileOf({ path }: Folder, { index, seed }: ImageJob): string {
  return join(path, `${String(index).padStart(5, '0')}-seed-${seed}.png`);
}

/** Throws an InvalidArgumentError that names every picture that is there already and may not be replaced. */
export function checkNames(folder: Folder, jobs: readonly ImageJob[]): void {
  if (folder.overwrite) return;
  const there = jobs.map((job) => fileOf(folder, job)).filter((file) => existsSync(file));
  if (there.length === 0) return;
  const which = `${listed(there.map((file) => basename(file)))}: ${there.length === 1 ? 'exists' : 'exist'} already`;
  throw new InvalidArgumentError(folder.path, `${which}: choose another folder, or pass --overwrite`);
}

/** Writes one picture into a folder, with the recipe that makes it again, and returns its path. */
export async function writeSingle(folder: Folder, image: GeneratedImage, recipe: Recipe): Promise<string> {
  const file = fileOf(folder, image.job);
  mkdirSync(folder.path, { recursive: true });
  await writePng(file, image, { overwrite: folder.overwrite, text: textOf(recipeOfImage(recipe, image.job)) });
  return resolve(file);
}

/** Writes one picture or a grid of several, with the recipe that makes the file again, and returns its path. */
export async function writePicture(made: MadePictures, { app }: SampleSettings): Promise<string> {
  const { out, overwrite = false, columns, scale } = app;
  const layout = { ...(columns !== undefined && { columns }), ...(scale !== undefined && { scale }) };
  await writePng(out, gridOf(made, app), { overwrite, text: textOf({ ...made.recipe, ...layout }) });
  return resolve(out);
}

function textOf(recipe: Recipe): Record<string, string> {
  return { [RECIPE_KEY]: JSON.stringify(recipe) };
}

/** All pictures in one; a row for each label where there are several, the prompt under each where there are several. */
function gridOf({ images, recipe, classes }: MadePictures, { columns, scale }: SampleSettings['app']) {
  const [first] = images as [GeneratedImage];
  const { width } = first;
  const each = recipe.count ?? 1;
  const labels = [...new Set(images.map(({ job }) => job.label))];
  // A single picture is written as it is, so that one of a folder replays to the same file.
  const labelled = images.length > 1 && labels.every((label) => label !== null) && classes.length > 0;
  const prompted = new Set(images.map(({ job }) => job.prompt)).size > 1;
  const across = columns ?? (labelled ? each : Math.ceil(Math.sqrt(images.length)));
  return imageGrid(stackPictures(images), {
    columns: across,
    scale: scale ?? ((labelled && width < 64) || (prompted && width <= 64) ? 2 : 1),
    ...(images.length === 1 && { padding: 0 }),
    ...(!labelled && images.length > 1 && { padding: 2 }),
    ...(prompted && { captions: images.map(({ job }) => job.prompt) }),
    ...(labelled && across === each && { rowLabels: labels.map((label) => classes[label!]!) }),
  });
}
