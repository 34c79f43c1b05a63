import { useBackend } from '@mezzotint/backend';
import { guidances } from '@mezzotint/guidance';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPipeline, type Pipeline, type Request, type SavedPipelineRun } from '../src/node/index.js';
import { sampleFixture } from './support/goldens.js';

let pipeline: Pipeline;
beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  pipeline = await openPipeline(sampleFixture('tiny-sd'));
});
afterAll(() => pipeline.dispose());

const asked: Request = {
  prompt: 'a red cat',
  negative: 'blue',
  seed: 3,
  steps: 3,
  height: 16,
  width: 16,
  solver: 'ddim',
};
const made = async (more: Request) => {
  let x: readonly number[] = [];
  for await (const step of pipeline.steps({ ...asked, ...more })) x = [...step.x.dataSync()];
  return x;
};
const distance = (a: readonly number[], b: readonly number[]) =>
  Math.hypot(...a.map((v, i) => v - b[i]!)) / Math.hypot(...b);

describe('every guidance by name', () => {
  let plain: readonly number[] | undefined;
  test.each(guidances.map(({ name }) => name))('%s makes a picture of its own, and leaks nothing', async (name) => {
    const named = name === 'slg' ? { name, layers: 'mid_block.attentions.0.transformer_blocks.0' } : { name };
    const options = { 'dynamic-thresholding': { quantile: 0.3 }, 'apg-mix': { plainSteps: 1 } }[name];
    const guide = [{ ...named, ...options }];
    if (name === 'slg') {
      // UNets leave no block out: the layer that cannot be left out is named.
      await expect(made({ guide })).rejects.toThrow(/these layers did nothing that can be changed/);
      return;
    }
    plain ??= await made({});
    const before = tf.memory().numTensors;
    const guided = await made({ guide });
    expect(tf.memory().numTensors).toBe(before);
    expect(guided.every(Number.isFinite)).toBe(true);
    if (name === 'cfg') expect(distance(guided, plain!)).toBeLessThan(1e-5);
    else expect(distance(guided, plain!)).toBeGreaterThan(1e-5);
  });

  test('several add up, and the order of additions does not matter', async () => {
    const both = [{ name: 'apg' }, { name: 'pag', scale: 1 }];
    const a = await made({ guide: both });
    expect(distance(a, await made({ guide: [...both].reverse() }))).toBeLessThan(1e-5);
    expect(distance(a, await made({ guide: [{ name: 'apg' }] }))).toBeGreaterThan(1e-5);
  });

  test('a guidance without a negative condition: pag at scale 1 of cfg', async () => {
    expect(
      distance(await made({ guidance: 1, guide: [{ name: 'pag' }] }), await made({ guidance: 1 })),
    ).toBeGreaterThan(1e-5);
  });
});

test('a run that is saved in the middle has the momentum too: the same bits', async () => {
  const request = { ...asked, guide: [{ name: 'apg', momentum: -0.7 }] };
  const whole = await made(request);
  let saved: SavedPipelineRun | undefined;
  for await (const step of pipeline.steps(request)) {
    saved = await step.save();
    if (step.index === 0) break;
  }
  saved = structuredClone(saved);
  let x: readonly number[] = [];
  for await (const step of pipeline.steps(request, { from: saved })) x = [...step.x.dataSync()];
  expect(x).toEqual(whole);
});

test('what is wrong is said before any weights are read, all at once', async () => {
  const problem = (request: Request) =>
    pipeline.check({ ...asked, ...request }).then(
      () => 'it is fine',
      (error: Error) => error.message,
    );
  expect(await problem({ guide: [{ name: 'apg' }, { name: 'tcfg' }] })).toMatch(/apg and tcfg stand in the same place/);
  expect(await problem({ guidance: 1, guide: [{ name: 'apg' }] })).toMatch(
    /apg needs a guidance scale above 1, it is 1/,
  );
  expect(await problem({ guidance: 5, guide: [{ name: 'fdg' }] })).toMatch(/fdg has a strength of its own/);
  expect(await problem({ guide: [{ name: 'pag', layers: 'mid.0' }] })).toMatch(/no module at mid.0/);
  expect(await problem({ negative: undefined, guide: [{ name: 'perp-neg' }] } as never)).toMatch(
    /perp-neg needs a negative prompt/,
  );
  expect(await problem({ guide: [{ name: 'apg', momentun: 1 }, { name: 'slg' }] })).toMatch(
    /no option 'momentun'[\s\S]*slg needs the option layers/,
  );
  expect(await problem({ guide: [{ name: 'agp' }] } as never)).toMatch(/guide.0.name/);
});

test('the settings of a run have every option, so that a recipe replays whatever the defaults become', async () => {
  const { guide } = await pipeline.settings({ ...asked, guide: [{ name: 'apg', norm: 3 }] });
  expect(guide).toEqual([
    { name: 'apg', momentum: -0.5, norm: 3, parallel: 0, on: 'prediction', from: 'unconditional', start: 0, stop: 1 },
  ]);
});
