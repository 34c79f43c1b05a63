import { expect, test } from 'vitest';
import { fromRecipe, parseRecipe } from '../src/index.js';

/** What sample wrote before there were pipelines. */
const first = {
  ...{ prompt: 'a cat', negative: null, model: { path: 'sdxl', hash: 'x' }, parts: null, tokenizer: null },
  ...{ prediction: null, refiner: { path: 'refiner', hash: 'y' }, handover: 0.25, variant: 'fp16', weights: null },
  loras: [{ path: 'a.safetensors', hash: 'z', scale: 1e-7 }],
  ...{ image: null, mask: null, strength: null, height: 64, width: 32, solver: 'ddim', steps: 5, guidance: 4 },
  ...{ guidanceRescale: 0, seed: 7, count: 2, batch: 1, columns: 2, scale: 1, engine: 'cpu', versions: { node: '20' } },
};

test('recipes of earlier versions become today’s: names, the fraction of the base, prompts in chunks', () => {
  const recipe = parseRecipe('old.png', JSON.stringify(first));
  expect(recipe).toMatchObject({ recipe: 2, model: 'sdxl', engine: 'cpu', inputs: {} });
  const { options, request } = fromRecipe(recipe);
  expect(options).toEqual({ refiner: 'refiner', variant: 'fp16', lora: [{ path: 'a.safetensors', scale: 1e-7 }] });
  expect(request).toEqual({
    ...{ prompt: 'a cat', denoisingEnd: 0.75, height: 64, width: 32, solver: 'ddim', steps: 5, guidance: 4 },
    ...{ guidanceRescale: 0, seed: 7, count: 2, batch: 1, promptSyntax: 'weighted', longPrompts: 'chunks' },
  });
});

test('a recipe that does not say how its prompt was read is of when weights in brackets counted', () => {
  const recipe = { recipe: 2, model: 'sd', inputs: {}, engine: 'cpu', versions: {}, prompt: 'a (cat:1.2)' };
  const syntax = (more: object) => parseRecipe('a.png', JSON.stringify({ ...recipe, ...more })).promptSyntax;
  expect(syntax({})).toBe('weighted');
  expect(syntax({ promptSyntax: 'plain' })).toBe('plain');
  expect(syntax({ prompt: undefined, labels: [1] })).toBeUndefined();
});

test('a guide with a strength of its own has no scale beside it, which recipes of earlier versions had', () => {
  const recipe = { recipe: 2, model: 'm', inputs: {}, engine: 'cpu', versions: {}, guidance: 4, stageGuidance: [4] };
  const of = (...names: string[]) =>
    fromRecipe(parseRecipe('a.png', JSON.stringify({ ...recipe, guide: names.map((name) => ({ name })) }))).request;
  expect(of('fdg')).toEqual({ guide: [{ name: 'fdg' }] });
  expect(of('apg')).toMatchObject({ guidance: 4, stageGuidance: [4] });
});

test('a picture without a recipe, and one that was edited, are named', () => {
  expect(() => parseRecipe('a.png', undefined)).toThrowError(/a.png: has no recipe/);
  expect(() => parseRecipe('a.png', '{')).toThrowError(/not JSON/);
  expect(() => parseRecipe('a.png', '{"recipe":2,"steps":"many"}')).toThrowError(/has no recipe/);
});
