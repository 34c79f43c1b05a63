import { InvalidArgumentError } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import { guideProblems, wholeGuides } from './guidance.js';
import { batchesOf, jobsOf } from './jobs.js';
import { checkRequest, isBitmap, type Request, type Settings } from './request.js';
import { type Route, routeOf } from './run-stage.js';
import type { Batch, PipelineDefinition, Stage } from './stage.js';
import { settingsByStage, stageProblems } from './stage-settings.js';
import { type PictureSize, sizeInUnits } from './start.js';

/** Reads a picture file. In a mask transparency is ignored, as diffusers does. */
export type ReadImage = (path: string, as: 'image' | 'mask') => Promise<Bitmap>;

/** A request that was checked as a whole. */
export interface Prepared {
  readonly settings: Settings;
  /** Those of each stage. */
  readonly stageSettings: readonly Settings[];
  readonly batches: readonly Batch[];
  readonly routes: readonly Route[];
  readonly image: Bitmap | null;
  readonly mask: Bitmap | null;
}

export async function prepared(
  definition: PipelineDefinition,
  request: Request,
  readImage: ReadImage | undefined,
): Promise<Prepared> {
  const { family, takes, defaults, stages, classes, imageIs = 'start' } = definition;
  const asked = checkRequest(request, family, takes);
  const early = needProblems(definition, asked);
  if (early.length > 0) throw new InvalidArgumentError('request', early);
  const image = await pictureOf('image', asked.image, readImage);
  const mask = await pictureOf('mask', asked.mask, readImage);
  const unit = sizeUnitOf(definition);
  const enlarges = definition.enlarges ?? 1;
  // A model of one size takes a start picture at that size.
  const fixed = imageIs === 'start' && !takes.includes('height');
  const own = image === null || fixed ? defaults : sizeInUnits(image, unit);
  const strength = asked.strength ?? (mask === null ? 0.8 : 1);
  const settings: Settings = {
    ...defaults,
    ...(takes.includes('promptSyntax') && { promptSyntax: 'plain' as const }),
    ...(takes.includes('longPrompts') && { longPrompts: 'cut' as const }),
    ...asked,
    ...(asked.guide && { guide: wholeGuides(asked.guide) }),
    ...(image !== null && { image, ...(imageIs === 'start' && { strength }) }),
    ...(mask !== null && { mask }),
    height: asked.height ?? (image === null ? own.height : own.height * enlarges),
    width: asked.width ?? (image === null ? own.width : own.width * enlarges),
    steps: asked.steps ?? defaults.steps,
    guidance: asked.guidance ?? defaults.guidance ?? 1,
    batch: asked.batch ?? defaults.batch ?? 1,
    count: asked.count ?? defaults.count ?? 1,
  };
  const stageSettings = settingsByStage(stages, asked, settings);
  const problems = [
    ...settingProblems(definition, asked, settings, image),
    ...(definition.check?.(settings) ?? []),
    ...noiseLevelProblems(stages, stageSettings),
  ];
  if (problems.length > 0) throw new InvalidArgumentError('request', problems);
  const routes = stages.map((stage, i) => {
    const next = stages[i + 1];
    return routeOf(stage, stageSettings[i]!, {
      first: i === 0,
      handsOver: next?.start === 'previous',
      stopsAt: next?.stopsPrevious?.(stageSettings[i + 1]!) ?? null,
    });
  });
  const guides = guideProblems(stages, asked, stageSettings, routes);
  if (guides.length > 0) throw new InvalidArgumentError('request', guides);
  const batches = batchesOf(jobsOf(settings, classes), settings);
  return {
    settings: withLists(definition, settings, stageSettings),
    stageSettings,
    batches,
    routes,
    image: imageIs === 'start' ? image : null,
    mask,
  };
}

/** Noise levels above what a stage was trained with. */
function noiseLevelProblems(stages: readonly Stage[], byStage: readonly Settings[]): string[] {
  return stages.flatMap(({ name, maxNoiseLevel = Number.POSITIVE_INFINITY }, i) => {
    const { noiseLevel = 0 } = byStage[i]!;
    if (noiseLevel <= maxNoiseLevel) return [];
    return [`noiseLevel: expected at most ${maxNoiseLevel}, got ${noiseLevel} for ${name}`];
  });
}

/** The settings with what each stage of a cascade has in the end, so that a recipe says it. */
function withLists({ takes }: PipelineDefinition, settings: Settings, byStage: readonly Settings[]): Settings {
  const lists = {
    stageSteps: byStage.map(({ steps }) => steps),
    stageGuidance: byStage.map(({ guidance }) => guidance),
  };
  return { ...settings, ...Object.fromEntries(Object.entries(lists).filter(([key]) => takes.includes(key as never))) };
}

/** What the sides of pictures are multiples of. */
export function sizeUnitOf({ sizeUnit, stages }: PipelineDefinition): number {
  return sizeUnit ?? stages[0]!.codec?.downscale ?? 1;
}

/** The largest picture that is made: 8192 x 8192. */
const MOST_PIXELS = 2 ** 26;

/** What is wrong with the sides that are known. */
function sideProblems(definition: PipelineDefinition, { height, width }: Pick<Request, 'height' | 'width'>): string[] {
  const unit = sizeUnitOf(definition);
  const { maxSize = Number.POSITIVE_INFINITY } = definition;
  const most = maxSize < Number.POSITIVE_INFINITY ? `, at most ${maxSize}` : '';
  return Object.entries({ height, width }).flatMap(([name, side]) =>
    side !== undefined && (side < unit || side % unit !== 0 || side > maxSize)
      ? [`${name}: expected a multiple of ${unit}${most}, got ${side}`]
      : [],
  );
}

function settingProblems(
  definition: PipelineDefinition,
  asked: Request,
  settings: Settings,
  image: Bitmap | null,
): string[] {
  const problems =
    image === null ? sideProblems(definition, settings) : pictureProblems(definition, asked, settings, image);
  const { height, width } = settings;
  if (height * width > MOST_PIXELS)
    problems.push(`size: expected at most ${MOST_PIXELS} pixels, got ${height} x ${width}`);
  return problems;
}

/** What is wrong with the sides that are not asked for and so follow from a picture, and what to ask for. */
function pictureProblems(
  definition: PipelineDefinition,
  asked: Request,
  settings: Settings,
  image: PictureSize,
): string[] {
  const free = (['height', 'width'] as const).filter((side) => asked[side] === undefined);
  if (sideProblems(definition, Object.fromEntries(free.map((side) => [side, settings[side]]))).length === 0) return [];
  const unit = sizeUnitOf(definition);
  const { maxSize = Number.POSITIVE_INFINITY, imageIs } = definition;
  const limits = [`at least ${unit}`, ...(maxSize < Number.POSITIVE_INFINITY ? [`at most ${maxSize}`] : [])];
  const of = `image: expected ${limits.join(' and ')} pixels a side, got height ${image.height}, width ${image.width}`;
  if (imageIs === 'condition') return [`${of}; give another picture`];
  // A size of about this shape.
  const scale = Math.min(1, maxSize / Math.max(image.height, image.width));
  const fit = (side: number) => Math.max(unit, Math.floor((side * scale) / unit) * unit);
  return [`${of}; give height and width, such as height ${fit(image.height)} and width ${fit(image.width)}`];
}

async function pictureOf(
  key: 'image' | 'mask',
  value: unknown,
  readImage: ReadImage | undefined,
): Promise<Bitmap | null> {
  if (value === undefined) return null;
  if (isBitmap(value)) return value;
  if (readImage === undefined)
    throw new InvalidArgumentError(key, 'expected a decoded picture; files are read by @mezzotint/pipelines/node');
  return readImage(value as string, key);
}

/** Settings that need others, before any file is read. */
function needProblems(definition: PipelineDefinition, asked: Request): string[] {
  const { stages, takes, imageIs } = definition;
  const problems = [...sideProblems(definition, asked), ...stageProblems(stages, asked)];
  if (asked.image === undefined) {
    for (const key of ['mask', 'strength', 'pasteBack'] as const) {
      if (asked[key] !== undefined) problems.push(`${key}: needs an image that it is for`);
    }
  }
  if (imageIs === 'condition' && asked.image === undefined) problems.push('image: this model needs one');
  if (asked.pasteBack && asked.mask === undefined) problems.push('pasteBack: needs a mask');
  if (stages[0]!.seesMask && asked.mask === undefined)
    problems.push('this model was made for inpainting: give it an image and a mask');
  if (takes.includes('prompt') && asked.prompt === undefined)
    problems.push('prompt: this model takes a prompt, got none');
  return problems;
}
