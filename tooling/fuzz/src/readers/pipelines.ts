import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { encodePng, readPngText } from '@mezzotint/data';
import { fromRecipe, parseRecipe, RECIPE_KEY } from '@mezzotint/pipelines';
import { openPipeline } from '@mezzotint/pipelines/node';
import { settingsOf } from '@mezzotint/sample/settings';
import { binary, file, jsonFile, pathsBelow, projectPath, type Reader, temporaryFolder } from '../reader.js';

const apps = 'apps/sample/test/fixtures';
const pipelines = 'packages/pipelines/test/fixtures';
const folder = temporaryFolder();
const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));

/** Opens a model, asks it what it would do, and closes it. */
async function open(path: string, options: Parameters<typeof openPipeline>[1] = {}): Promise<void> {
  const pipeline = await openPipeline(path, options);
  try {
    const { takes } = pipeline;
    await pipeline.settings({
      ...(takes.includes('prompt') && { prompt: 'a red cat' }),
      ...(takes.includes('labels') && { labels: [1] }),
    });
  } finally {
    pipeline.dispose();
  }
}

/** A copy of a model folder, of links, in which one file is another. */
function withFile(model: string, name: string, bytes: Uint8Array): string {
  const copy = join(folder, 'model');
  rmSync(copy, { recursive: true, force: true });
  const link = (from: string, to: string, inside: string) => {
    mkdirSync(to, { recursive: true });
    for (const entry of readdirSync(from)) {
      if (inside.split('/')[0] !== entry) symlinkSync(join(from, entry), join(to, entry));
      else if (inside.includes('/')) link(join(from, entry), join(to, entry), inside.slice(entry.length + 1));
    }
  };
  link(projectPath(model), copy, name);
  writeFileSync(join(copy, name), bytes);
  return copy;
}

/** A reader of one kind of file in whole model folders. */
function inModels(name: string, files: readonly string[]): Reader {
  return jsonFile(name, files.map(file), (bytes, seed) => {
    const parts = files[seed]!.split('/');
    const at = parts.findIndex((part) => part.startsWith('tiny-') || part === 'digits') + 1;
    return open(withFile(parts.slice(0, at).join('/'), parts.slice(at).join('/'), bytes));
  });
}

/** The parts of FLUX beside its transformer. */
function fluxParts(): string {
  const parts = join(folder, 'flux-parts');
  mkdirSync(parts);
  const from = projectPath(`${pipelines}/tiny-flux-dev`);
  for (const entry of readdirSync(from))
    if (entry !== 'transformer') symlinkSync(join(from, entry), join(parts, entry));
  return parts;
}
const partsOf = [fluxParts(), projectPath(`${pipelines}/tiny-dit`)];

/** Files of whole models: two fixtures are one network alone, another lacks its text encoder. */
const models = (ending: RegExp) =>
  [...pathsBelow(apps, ending), ...pathsBelow(pipelines, ending)].filter(
    (path) =>
      /\/tiny-/.test(path) && !/^[^/]+\/[^/]+\/test\/fixtures\/(?:tiny-lcm-unet|tiny-vae|tiny-upscaler)\//.test(path),
  );

const picture = { data: new Uint8Array(48), height: 4, width: 4, channels: 3 } as const;
const recipes = [
  {
    recipe: 2,
    model: 'm',
    inputs: { m: 'abc' },
    engine: 'cpu',
    versions: { a: '1' },
    prompt: ['a red cat'],
    seed: 7,
    solver: 'ddim',
    solverOptions: { eta: 0.5 },
    steps: 4,
    guidance: 7.5,
    height: 64,
    width: 64,
    lora: [{ path: 'l', scale: 1e-7 }],
    labels: [1, 2],
    guidanceInterval: [0.1, 2],
    count: 1,
    batch: 1,
  },
  {
    prompt: 'a',
    negative: null,
    model: { path: 'm', hash: 'h' },
    parts: null,
    refiner: { path: 'r', hash: 'h' },
    handover: 0.2,
    variant: null,
    loras: [{ path: 'l', hash: 'h', scale: 1 }],
    image: null,
    mask: null,
    strength: null,
    height: 64,
    width: 64,
    solver: 'euler',
    steps: 4,
    guidance: 1,
    guidanceRescale: 0,
    seed: 1,
    count: 1,
    batch: 1,
    engine: 'cpu',
    versions: {},
  },
];
const place = (name: string, bytes: Uint8Array) => {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
};

/** Whole models, recipes, the configuration of `sample`. */
export const pipelineReaders: readonly Reader[] = [
  inModels('model_index.json', models(/model_index\.json$/)),
  inModels('scheduler config of a model', models(/scheduler_config\.json$/)),
  inModels('network config of a model', models(/(?:unet|transformer)\/config\.json$/)),
  inModels('vae config of a model', models(/vae\/config\.json$/)),
  inModels('text encoder config of a model', models(/text_encoder[_23]*\/config\.json$/)),
  inModels(
    'tokenizer files of a model',
    models(/tokenizer[_23]*\/(?:tokenizer_config|special_tokens_map|added_tokens)\.json$/),
  ),
  inModels('config.json of our own model', ['models/digits/config.json']),
  binary(
    'textual inversion',
    [
      file(`${pipelines}/cat-toy.safetensors`),
      file(`${pipelines}/learned_embeds.bin`),
      file(`${pipelines}/my-style.pt`),
    ],
    (bytes, seed) => {
      const path = place(['t.safetensors', 't.bin', 't.pt'][seed]!, bytes);
      return open(projectPath(`${apps}/tiny-sd`), { textualInversion: [{ path, token: '<cat>' }] });
    },
  ),
  binary(
    'model in one file',
    [
      file(`${pipelines}/flux-files/tiny-schnell-Q4_0.gguf`),
      file(`${pipelines}/edm2-img8-tiny-uncond-0000020-0.100.pkl`),
      file(`${pipelines}/flux-files/tiny-schnell-fp8-scaled.safetensors`),
    ],
    (bytes, seed) =>
      open(place(`one/${['a.gguf', 'edm2-img8-tiny-uncond-0000020-0.100.pkl', 'a.safetensors'][seed]!}`, bytes), {
        parts: partsOf[seed % 2]!,
      }),
  ),
  jsonFile('recipe', recipes.map(bytesOf), (bytes) =>
    fromRecipe(parseRecipe('recipe', Buffer.from(bytes).toString('utf8'))),
  ),
  binary(
    'recipe in a PNG',
    recipes.map((recipe) => encodePng(picture, { text: { [RECIPE_KEY]: JSON.stringify(recipe), other: 'ä — 熊' } })),
    async (bytes) => {
      const path = place('recipe.png', bytes);
      fromRecipe(parseRecipe(basename(path), (await readPngText(path))[RECIPE_KEY]));
    },
  ),
  jsonFile(
    'config file of sample',
    [
      bytesOf({
        model: projectPath(`${apps}/tiny-sd`),
        prompt: 'a red cat',
        steps: 3,
        guidance: 5,
        seed: 3,
        labels: '0-9',
        lora: [],
        solverOptions: { eta: 1 },
        originalSize: [64, 64],
      }),
    ],
    (bytes) => settingsOf({ config: place('sample.json', bytes) } as never),
  ),
];
