import { InvalidArgumentError, isSeed, type Seed } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import { guidances } from '@mezzotint/guidance';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { z } from 'zod';

/** What help says of a setting, beside its description. */
export interface SettingMeta {
  /** The heading that it stands under. */
  readonly group: 'what' | 'picture' | 'sampling' | 'guidance' | 'text' | 'start' | 'model' | 'speed';
  /** What stands for its value in help: `<text>`; none for a switch. */
  readonly value?: string;
}

const setting = <S extends z.ZodType>(schema: S, group: SettingMeta['group'], value: string, about: string): S =>
  schema.describe(about).meta({ group, value }) as S;

/** Solvers that go from noise to a picture. */
const names = (Object.keys(solvers) as [SolverName, ...SolverName[]]).filter((name) => !solvers[name].inverse) as [
  SolverName,
  ...SolverName[],
];
const guides = guidances.map(({ name }) => name) as [string, ...string[]];
const guideOption = z.union([z.number(), z.boolean(), z.string(), z.array(z.number()).max(16)]);
const side = z
  .int()
  .min(1)
  .max(2 ** 20);
/** PyTorch's seeds: 64 bits, of which a number of JSON holds 53. */
const seed = z.custom<Seed>(
  (value) => isSeed(value) && BigInt(value) >= 0n,
  'expected a whole number from 0 to 2^64 - 1; above 2^53 - 1 its digits as a text, or a bigint',
);
const options = z.record(z.string(), z.union([z.number(), z.boolean(), z.string()]));
const words = z.string().max(100_000);
const several = z.union([words, z.array(words).min(1).max(10_000)]);
const pair = z.tuple([z.int().min(0).max(65_536), z.int().min(0).max(65_536)]);

/** A picture that was decoded, or the path of one where the pipeline can read files (`/node`). */
const picture = z.union([z.string(), z.custom<Bitmap>((value) => isBitmap(value), 'expected a picture')]);

/**
 * What a pipeline may be asked: the one place from which the types of `generate`, command-line flags, the keys of
 * configuration files and the recipe in a picture come. What is left out is what the model's makers say.
 */
export const requestSchema = z
  .strictObject({
    prompt: setting(several, 'what', 'text', 'what to see; a list (the flag again) makes one picture of each'),
    negative: setting(several, 'what', 'text', 'what not to see; one for all, or one for each prompt'),
    secondPrompt: setting(
      several,
      'what',
      'text',
      'what the second text encoder is given (SDXL and SD3: CLIP-G, FLUX: T5; default: the prompt)',
    ),
    secondNegative: setting(several, 'what', 'text', 'the negative prompt of the second text encoder'),
    thirdPrompt: setting(
      several,
      'what',
      'text',
      'what the third text encoder is given (SD3: T5; default: the prompt)',
    ),
    thirdNegative: setting(several, 'what', 'text', 'the negative prompt of the third text encoder'),
    labels: setting(
      z.union([z.string().max(100_000), z.array(z.int().min(0)).min(1).max(100_000)]),
      'what',
      'list',
      "classes, such as '3', '0-9' or 'cat,dog' (default: all)",
    ),
    count: setting(z.int().min(1).max(100_000), 'what', 'n', 'pictures of each prompt or label'),
    seed: setting(
      seed,
      'what',
      'n',
      'picture i has the seed n + i, up to 2^64 - 1; in JSON, seeds above 2^53 - 1 are texts (default: 0)',
    ),
    seeds: setting(
      z.array(seed).min(1).max(100_000),
      'what',
      'list',
      'a seed for each picture, in the place of --seed',
    ),
    height: setting(side, 'picture', 'pixels', "height (default: the model's, or the start picture's)"),
    width: setting(side, 'picture', 'pixels', "width (default: the model's, or the start picture's)"),
    steps: setting(z.int().min(1).max(10_000), 'sampling', 'n', 'steps of the solver'),
    solver: setting(z.enum(names), 'sampling', 'name', "solver (default: the model's)"),
    solverOptions: setting(
      options,
      'sampling',
      'name=value',
      'options of the solver, such as eta=0.5 or sigmas=karras',
    ),
    threshold: setting(
      z.number().min(0).max(1),
      'sampling',
      'quantile',
      'dynamic thresholding of the estimates at this quantile, 0.995 in Imagen; 0 clips them instead (models of pixels)',
    ),
    stageSteps: setting(
      z.array(z.int().min(1).max(10_000)).min(1).max(16),
      'sampling',
      'list',
      'steps of each stage of a cascade, such as 100,50',
    ),
    stageSolvers: setting(
      z.array(z.enum(names)).min(1).max(16),
      'sampling',
      'list',
      'solver of each stage of a cascade, such as ddpm,dpmpp-2m',
    ),
    stageThresholds: setting(
      z.array(z.number().min(0).max(1)).min(1).max(16),
      'sampling',
      'list',
      'dynamic thresholding of each stage of a cascade, such as 0.95,0.99',
    ),
    stageGuidance: setting(
      z.array(z.number().min(0).max(1000)).min(1).max(16),
      'guidance',
      'list',
      'guidance scale of each stage of a cascade, such as 7,4',
    ),
    guidance: setting(
      z.number().min(0).max(1000),
      'guidance',
      'scale',
      'guidance scale; 1 and below is the conditional model alone',
    ),
    trueGuidance: setting(
      z.number().min(0).max(1000),
      'guidance',
      'scale',
      'classifier-free guidance beside the scale that the network is told (FLUX); needs a negative prompt (default: 1, none)',
    ),
    skipLayers: setting(
      z.array(z.int().min(0).max(1023)).min(1).max(64),
      'guidance',
      'list',
      'skip-layer guidance away from the network without these blocks (Stable Diffusion 3.5 medium: 7,8,9)',
    ),
    skipLayerScale: setting(
      z.number().min(0).max(100),
      'guidance',
      'scale',
      'scale of skip-layer guidance (default: 2.8)',
    ),
    skipLayerInterval: setting(
      z.tuple([z.number().min(0).max(1), z.number().min(0).max(1)]),
      'guidance',
      'from,to',
      'fractions of the steps between which skip-layer guidance holds (default: 0.01,0.2)',
    ),
    classifierScale: setting(
      z.number().min(0).max(1000),
      'guidance',
      'scale',
      "scale of the classifier's gradient (default: 1)",
    ),
    guidanceRescale: setting(
      z.number().min(0).max(1),
      'guidance',
      'fraction',
      'bring the deviation of the guided prediction back to the conditional one (default: 0)',
    ),
    guidanceInterval: setting(
      z
        .tuple([z.number().min(0), z.number().min(0)])
        .refine(([low, high]) => low < high, 'expected the lower level first'),
      'guidance',
      'low,high',
      'guide only at noise levels sigma / alpha above low and up to high (default: everywhere)',
    ),
    guide: setting(
      z
        .array(z.object({ name: z.enum(guides) }).catchall(guideOption))
        .min(1)
        .max(8),
      'guidance',
      'name[:option=value]',
      `guidance by name, such as apg or pag:scale=3; may be given again (${guides.join(', ')})`,
    ),
    clipSkip: setting(z.int().min(0).max(48), 'text', 'n', 'leave out the last n layers of the text encoder'),
    textLength: setting(
      z.int().min(2).max(512),
      'text',
      'n',
      "tokens that T5 reads, shorter prompts padded, longer ones cut; pictures depend on it (default: the model's)",
    ),
    promptSyntax: setting(
      z.enum(['plain', 'weighted']),
      'text',
      'kind',
      'plain: brackets are text, as in diffusers; weighted: (word:1.2) counts more, [word] less (default: plain)',
    ),
    longPrompts: setting(
      z.enum(['chunks', 'cut']),
      'text',
      'rule',
      'prompts longer than the text encoder takes: cut as diffusers does, or encoded in chunks (default: cut)',
    ),
    promptCleaning: setting(
      z.enum(['full', 'lowercase']),
      'text',
      'how',
      'DeepFloyd IF: links, HTML, file names, numbers and odd signs taken out of prompts, or small letters alone (default: full)',
    ),
    image: setting(picture, 'start', 'file', 'start from this picture'),
    mask: setting(
      picture,
      'start',
      'file',
      'inpaint where this is white; pixels elsewhere go through the autoencoder and change a little (see --paste-back)',
    ),
    pasteBack: setting(z.boolean(), 'start', '', "put the start picture's own pixels back outside of the mask"),
    strength: setting(
      z.number().gt(0).max(1),
      'start',
      'fraction',
      'how much of the start picture is made anew (default: 0.8, with a mask 1)',
    ),
    denoisingEnd: setting(
      z.number().gt(0).lt(1),
      'sampling',
      'fraction',
      'where the base hands over to the refiner (default: 0.8)',
    ),
    originalSize: setting(
      pair,
      'picture',
      'height,width',
      'size of the training picture that SDXL is told (default: the size)',
    ),
    cropTopLeft: setting(pair, 'picture', 'top,left', 'crop that SDXL is told (default: 0,0)'),
    targetSize: setting(pair, 'picture', 'height,width', 'target size that SDXL is told (default: the size)'),
    negativeOriginalSize: setting(
      pair,
      'picture',
      'height,width',
      'the same three of the negative prompt; the two sizes go together (default: those of the prompt)',
    ),
    negativeCropTopLeft: setting(pair, 'picture', 'top,left', 'crop of the negative prompt (default: 0,0)'),
    negativeTargetSize: setting(pair, 'picture', 'height,width', 'target size of the negative prompt'),
    aestheticScore: setting(
      z.number().min(0).max(10),
      'picture',
      'score',
      "score that SDXL's refiner is told (default: 6)",
    ),
    negativeAestheticScore: setting(
      z.number().min(0).max(10),
      'picture',
      'score',
      "score that SDXL's refiner is told of the negative prompt (default: 2.5)",
    ),
    noiseLevel: setting(
      z.int().min(0).max(1000),
      'start',
      'n',
      'noise that an upscaler, or a later stage of a cascade, puts on its input: 0 is none, 1000 is all',
    ),
    stageNoiseLevels: setting(
      z.array(z.int().min(0).max(1000)).min(1).max(16),
      'start',
      'list',
      'noise on the input of each stage of a cascade, such as 0,250 (the first has none)',
    ),
    batch: setting(
      z.int().min(1).max(10_000),
      'speed',
      'n',
      'pictures computed at once; changes nothing but speed and memory',
    ),
  })
  .partial();

/** What `generate` takes. Settings that are left out are those of the model's makers. */
export type Request = z.input<typeof requestSchema>;

/** The name of a setting. */
export type RequestKey = keyof Request;

/** The settings that every family takes. */
export const commonKeys = [
  ...(['count', 'seed', 'seeds', 'steps', 'solver', 'solverOptions', 'guide', 'batch'] as const),
] satisfies readonly RequestKey[];

/** A request with everything that a run needs filled in. */
export type Settings = Omit<Request, 'steps' | 'batch' | 'count' | 'height' | 'width' | 'guidance'> & {
  readonly steps: number;
  readonly batch: number;
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly guidance: number;
};

/**
 * Checks a request as a whole.
 *
 * @param takes the settings that the family takes, beside the common ones
 * @throws InvalidArgumentError that lists every setting that is unknown, wrong, or of no use to this model
 */
export function checkRequest(request: unknown, family: string, takes: readonly RequestKey[]): Request {
  const given = Object.fromEntries(Object.entries(request ?? {}).filter(([, value]) => value !== undefined));
  const parsed = requestSchema.safeParse(given);
  const problems = parsed.success
    ? []
    : parsed.error.issues.map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message));
  const known: readonly string[] = [...commonKeys, ...takes];
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(requestSchema.shape, key) && !known.includes(key)) {
      problems.push(`${key}: ${family} does not take it; it takes ${takes.join(', ')}`);
    }
  }
  if (problems.length > 0) throw new InvalidArgumentError('request', problems);
  return parsed.data as Request;
}

/** Whether a value is a decoded picture. */
export function isBitmap(value: unknown): value is Bitmap {
  const { data, height, width, channels } = (value ?? {}) as Partial<Bitmap>;
  return data instanceof Uint8Array && data.length === height! * width! * channels!;
}
