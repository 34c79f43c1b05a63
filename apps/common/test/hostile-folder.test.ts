import { execFileSync, spawn } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { switchTo } from '@mezzotint/backend/testing';
import { MezzotintError } from '@mezzotint/core';
import { pipelineOfNetwork } from '@mezzotint/pipelines';
import { isSolverName } from '@mezzotint/schedulers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { checkConfig, describeDiffusionModel, prepareOutput, readConfig } from '../src/index.js';
import { tinyConfig, writeTinyModel } from '../src/testing/index.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint hostile app ü-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const at = (name: string) => join(root, name);
beforeAll(async () => {
  await switchTo('cpu');
  await writeTinyModel(at('tiny'));
});

/** What the error of ours says that this must give. */
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(MezzotintError.isInstance(error), String(error)).toBe(true);
    return (error as Error).message;
  }
  return 'was accepted';
}

/** The tiny model with this in its config.json. */
function withConfig(name: string, config: unknown): string {
  cpSync(at('tiny'), at(name), { recursive: true });
  writeFileSync(join(at(name), 'config.json'), typeof config === 'string' ? config : JSON.stringify(config));
  return at(name);
}

const describeWith = (name: string, change: object) => {
  const folder = withConfig(name, { ...tinyConfig, ...change });
  return refusal(() => {
    const { config, model } = describeDiffusionModel(folder);
    return pipelineOfNetwork(config, model);
  });
};

describe("a model folder's config.json", () => {
  test.each(['toString', 'constructor', '__proto__', 'hasOwnProperty', ''])('no solver is named %s', (solver) => {
    expect(isSolverName(solver)).toBe(false);
    expect(describeWith('solver', { sampling: { ...tinyConfig.sampling, solver } })).toMatch(/unknown solver/);
  });

  test.each([2 ** 53 - 1, 1e9, 100_001, 0, -1, 1.5, '9'])('steps of %s are refused', (steps) => {
    expect(describeWith('steps', { sampling: { ...tinyConfig.sampling, steps } })).toMatch(/sampling\.steps: /);
  });

  test.each([1, null, {}, ['mezzotint/diffusion@1'], { startsWith: 1 }])(
    'a format that is %j is no model',
    (format) => {
      expect(describeWith('format', { format })).toMatch(/holds no model/);
    },
  );

  test('nested 20,000 deep, of 500 MB, or of 3 GB, it is refused in no time', () => {
    const deep = withConfig('deep', `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`);
    expect(refusal(() => describeDiffusionModel(deep))).toMatch(/not JSON: nested deeper than 64/);
    for (const size of [5e8, 3e9]) {
      truncateSync(join(deep, 'config.json'), size);
      expect(refusal(() => describeDiffusionModel(deep))).toMatch(new RegExp(`has ${size} bytes, expected at most`));
    }
  });

  test('a device or a FIFO in its place is named', () => {
    const folder = withConfig('special', tinyConfig);
    rmSync(join(folder, 'config.json'));
    symlinkSync('/dev/zero', join(folder, 'config.json'));
    expect(refusal(() => describeDiffusionModel(folder))).toMatch(/config\.json: is a device/);
    rmSync(join(folder, 'config.json'));
    execFileSync('mkfifo', [join(folder, 'config.json')]);
    expect(refusal(() => describeDiffusionModel(folder))).toMatch(/config\.json: is a FIFO/);
  });

  test('words of it are escaped, and a thousand problems are cut', () => {
    const schema = z.strictObject({ list: z.array(z.number()) });
    const evil = '\u001b]0;owned\u0007\ntrain: done';
    expect(refusal(() => checkConfig('c.json', { list: [], [evil]: 1 }, schema))).toContain('\\u001b]0;owned\\u0007');
    const many = refusal(() => checkConfig('c.json', { list: Array(5000).fill('x') }, schema));
    expect(many.split('\n')).toHaveLength(42);
    expect(many).toContain('… and 4960 more');
  });
});

describe('where an output goes', () => {
  test('only to what is no file yet, or a plain file that may be replaced; through links', () => {
    writeFileSync(at('there.png'), 'x');
    symlinkSync(at('there.png'), at('link.png'));
    execFileSync('mkfifo', [at('fifo')]);
    mkdirSync(at('folder'));
    symlinkSync('round', at('round'));
    expect(refusal(() => prepareOutput(at('there.png'), false))).toMatch(/exists already/);
    expect(refusal(() => prepareOutput(at('link.png'), false))).toMatch(/exists already/);
    for (const ok of ['there.png', 'link.png', 'new/deep.png']) prepareOutput(at(ok), true);
    expect(refusal(() => prepareOutput(at('fifo'), true))).toMatch(/is a FIFO/);
    expect(refusal(() => prepareOutput('/dev/null', true))).toMatch(/is a device/);
    expect(refusal(() => prepareOutput(at('folder'), true))).toMatch(/is a folder/);
    expect(refusal(() => prepareOutput(at('x.JPG'), true))).toMatch(/written as PNG, which \.jpg would not say/);
    expect(refusal(() => prepareOutput(at('n'.repeat(300)), true))).toMatch(/the name is too long/);
    expect(refusal(() => prepareOutput(at('round'), true))).toMatch(/leads back to itself/);
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true);
  });
});

/** Runs the app of this folder's fixture in a process whose readers leave. */
async function piped(script: string): Promise<number> {
  const child = spawn('sh', ['-c', script], { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: 'ignore' });
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? -1)));
}

test('a reader that leaves stops no work and leaves no trace', async () => {
  const app = fileURLToPath(new URL('fixtures/talkative.ts', import.meta.url));
  const node = `"${process.execPath}" --conditions=@mezzotint/source --import tsx "${app}"`;
  for (const [i, reader] of [
    '2>&1 | head -c 10 > /dev/null',
    '--json 2> "$TRACE" | true',
    '2>&1 > /dev/null | true',
  ].entries()) {
    const [done, trace] = [at(`done-${i}`), at(`trace-${i}`)];
    writeFileSync(trace, '');
    await piped(`TRACE='${trace}'; ${node} '${done}' ${reader}; sleep 0.1`);
    await expect
      .poll(() => existsSync(done) && readFileSync(done, 'utf8'), { timeout: 20_000 })
      .toBe('all lines, exit code 0');
    expect(readFileSync(trace, 'utf8')).not.toMatch(/node:|EPIPE|at /);
  }
}, 90_000);

test('a configuration file that is a link to an endless device is refused', () => {
  symlinkSync('/dev/zero', at('endless.json'));
  expect(refusal(() => readConfig(at('endless.json'), z.unknown()))).toMatch(/is a device/);
  copyFileSync(fileURLToPath(new URL('hostile-folder.test.ts', import.meta.url)), at('text.json'));
  expect(refusal(() => readConfig(at('text.json'), z.unknown()))).toMatch(/not JSON/);
});
