import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodePng } from '@mezzotint/data';
import { RECIPE_KEY } from '@mezzotint/pipelines';
import { afterAll, expect, test } from 'vitest';
import { settingsOf } from '../src/settings.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-settings-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const at = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(root, name), content);
  return join(root, name);
};
const prompts = at('prompts.txt', '\uFEFFa cat\r\n\r\na dog\n');
const picture = (recipe: object) => {
  const whole = { recipe: 2, model: root, inputs: {}, engine: 'cpu', versions: {}, ...recipe };
  const text = { [RECIPE_KEY]: JSON.stringify(whole) };
  return at('picture.png', encodePng({ data: new Uint8Array(3), height: 1, width: 1, channels: 3 }, { text }));
};
const config = (settings: object) => at('settings.json', JSON.stringify(settings));

test('--seed wins over the seeds of a recipe and of a file, --seeds over a seed', async () => {
  const replay = picture({ seeds: [3, 4] });
  expect((await settingsOf({ replay })).request).toEqual({ seeds: [3, 4] });
  expect((await settingsOf({ replay, seed: 9 })).request).toEqual({ seed: 9 });
  expect((await settingsOf({ replay: picture({ seed: 3 }), seeds: [1] })).request).toEqual({ seeds: [1] });
  const file = config({ model: root, seeds: [3, 4] });
  expect((await settingsOf({ config: file, seed: 9 })).request).toEqual({ seed: 9 });
  // The recipe wins over the file.
  expect((await settingsOf({ config: file, replay: picture({ seed: 5 }) })).request).toEqual({ seed: 5 });
});

test('a flag for all stages wins over the lists of a recipe; a guide with a strength of its own over its scale', async () => {
  const replay = picture({ steps: 4, stageSteps: [4, 10], guidance: 3, stageGuidance: [3, 1] });
  expect((await settingsOf({ replay, steps: 2 })).request).toEqual({ steps: 2, guidance: 3, stageGuidance: [3, 1] });
  expect((await settingsOf({ replay, stageSteps: [1, 1] })).request).toMatchObject({ steps: 4, stageSteps: [1, 1] });
  const guided = (await settingsOf({ replay, guide: [{ name: 'fdg' }] })).request;
  expect(guided).toEqual({ steps: 4, stageSteps: [4, 10], guide: [{ name: 'fdg' }] });
});

test('--prompts wins over the prompt of a recipe and of a file, --prompt over their prompts', async () => {
  const both = ['a cat', 'a dog']; // without the byte order mark and the blank line
  expect((await settingsOf({ replay: picture({ prompt: 'x' }), prompts })).request.prompt).toEqual(both);
  expect((await settingsOf({ config: config({ model: root, prompt: 'x' }), prompts })).request.prompt).toEqual(both);
  const file = config({ model: root, prompts });
  expect((await settingsOf({ config: file })).request.prompt).toEqual(both);
  expect((await settingsOf({ config: file, prompt: 'x' })).request.prompt).toBe('x');
  const problem = /--prompts: is in the place of --prompt; give one/;
  await expect(settingsOf({ model: root, prompt: 'x', prompts })).rejects.toThrow(problem);
  const blank = at('blank.txt', '\n \n');
  await expect(settingsOf({ model: root, prompts: blank })).rejects.toThrow(/blank.txt has no line with a prompt/);
});

test('columns and scale of a grid are in its recipe; flags win, and where it says nothing the file holds', async () => {
  const replay = picture({ columns: 1, scale: 3 });
  expect((await settingsOf({ replay })).app).toMatchObject({ columns: 1, scale: 3 });
  expect((await settingsOf({ replay, columns: 2 })).app).toMatchObject({ columns: 2, scale: 3 });
  const file = config({ model: root, columns: 4, scale: 2 });
  expect((await settingsOf({ replay: picture({ columns: 1 }), config: file })).app).toMatchObject({
    columns: 1,
    scale: 2,
  });
});

test('npm start says what its arguments do not say, and overwrites only its own file', async () => {
  const module = new URL('../../../tooling/setup/start-arguments.mjs', import.meta.url).href;
  const { startArguments } = (await import(module)) as {
    startArguments(root: string, asked: string[]): { argv: string[] };
  };
  const start = (...asked: string[]) => startArguments('/r', asked).argv.join(' ').replaceAll('\\', '/');
  const [model, out] = ['--model /r/models/emoji', (name: string) => `--out /r/out/${name}.png --overwrite`];
  expect(start()).toBe(`${model} --prompts /r/models/emoji/prompts.txt ${out('emoji')}`);
  expect(start('--prompt=a')).toBe(`${model} ${out('emoji')} --prompt=a`);
  expect(start('--model', 'm', '--labels', '3')).toBe(`${out('pictures')} --model m --labels 3`);
  expect(start('--replay', 'p.png')).toBe(`${out('pictures')} --replay p.png`);
  expect(start('--config', 'c.json')).toBe('--config c.json');
  expect(start('--prompt', 'a', '--out', 'mine.png')).toBe(`${model} --prompt a --out mine.png`);
});
