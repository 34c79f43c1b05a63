import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import { beforeAll, expect, test } from 'vitest';
import { fromRecipe, openPipeline, parseRecipe, type Request, recipeOf } from '../src/node/index.js';

const model = fileURLToPath(new URL('./fixtures/tiny-ddpm', import.meta.url));
const LAST = '18446744073709551615'; // 2^64 - 1
const engine = { name: 'cpu', versions: {} };

beforeAll(() => useBackend({ engine: 'onnxruntime' }), 60_000); // its library takes a while to load on a busy machine

test('seeds go to 2^64 - 1, exactly, and back out of a recipe', async () => {
  const pipeline = await openPipeline(model);
  const made = async (request: Request) => {
    const { images } = await pipeline.generate({ steps: 1, ...request });
    return images.map(({ data }) => [...data]);
  };
  // torch.manual_seed takes 64 bits, of which its CPU generator uses the low 32: packages/random/test/seed.test.ts has its numbers.
  const expected = await made({ seed: 2 ** 32 - 2, count: 2 });
  const last = BigInt(LAST);
  expect(await made({ seed: last - 1n, count: 2 })).toEqual(expected);

  const request = { seeds: [String(last - 1n), last], count: 2, steps: 1 };
  const recipe = await recipeOf(pipeline, { model, options: {}, request, inputs: {}, engine });
  expect(await made(fromRecipe(parseRecipe('a.png', JSON.stringify(recipe))).request)).toEqual(expected);
  const single = await recipeOf(pipeline, { model, options: {}, request: { seed: last }, inputs: {}, engine });
  expect(parseRecipe('a.png', JSON.stringify(single)).seed).toBe(LAST);

  const seeds: (number | string)[] = [];
  for await (const { jobs } of pipeline.steps({ seed: Number.MAX_SAFE_INTEGER, count: 3, batch: 3, steps: 1 })) {
    seeds.push(...(jobs?.map(({ seed }) => seed) ?? []));
  }
  expect(seeds.slice(0, 3)).toEqual([9007199254740991, '9007199254740992', '9007199254740993']);
  pipeline.dispose();
});

test('the pictures of a request, or of a shard of it, are known before any is made', async () => {
  const pipeline = await openPipeline(model);
  const request = { seed: 5, count: 5, batch: 2, steps: 1 };
  const known = async (shard?: readonly [number, number]) =>
    (await pipeline.jobs(request, { shard })).map(({ index, seed }) => [index, seed]);
  expect(await known()).toEqual([0, 1, 2, 3, 4].map((i) => [i, 5 + i]));
  expect(await known([1, 2])).toEqual([2, 3, 4].map((i) => [i, 5 + i])); // whole batches
  await expect(pipeline.jobs({ ...request, seeds: [1] })).rejects.toThrow(/seeds: expected one for each of the 5/);
  pipeline.dispose();
});

test.each([-1, 1.5, 2 ** 53, '18446744073709551616', '-1', 'seven', null])('the seed %s is refused', async (seed) => {
  const pipeline = await openPipeline(model);
  await expect(pipeline.generate({ seed } as Request)).rejects.toThrow(
    /seed: expected a whole number from 0 to 2\^64 - 1/,
  );
  pipeline.dispose();
});

test('a seed whose pictures go beyond the last is refused before anything is made', async () => {
  const pipeline = await openPipeline(model);
  await expect(pipeline.generate({ seed: LAST, count: 2, steps: 1 })).rejects.toThrow(
    /2\^64.*got 18446744073709551616/,
  );
  pipeline.dispose();
});
