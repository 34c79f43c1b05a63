import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MezzotintError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { runDescribe } from '../src/command.js';
import { nearest } from '../src/nearest.js';
import { listed, presetNamed } from '../src/presets.js';
import type { PresetReport } from '../src/report.js';
import { columns, macsText, parametersText, treeText } from '../src/text.js';
import { type Branch, treeOf } from '../src/tree.js';

async function run(args: readonly string[], json: boolean, depth = 1): Promise<{ said: string; results: object[] }> {
  const lines: string[] = [];
  const results: object[] = [];
  const context = {
    json,
    say: (line: string) => void lines.push(line),
    result: (value: object) => void results.push(value),
  };
  await runDescribe(args, { depth }, context);
  return { said: lines.join('\n'), results };
}

describe('one preset', () => {
  test('as JSON: the published numbers of ADM-512, and its inputs', async () => {
    const { said, results } = await run(['adm-512'], true);
    expect(said).toBe('');
    expect(results).toHaveLength(1);
    const report = results[0] as PresetReport;
    expect(Object.keys(report)).toEqual([
      'name',
      'package',
      'about',
      'parameters',
      'trainable',
      'macs',
      'flops',
      'edm2Flops',
      'input',
    ]);
    expect(report).toMatchObject({ name: 'adm-512', parameters: 558_997_638, trainable: 558_997_638 });
    // Published to two decimals of a G: half of the last one is 0.005 of 1982.33.
    expect(Math.abs(report.macs / 1e9 - 1982.33)).toBeLessThan(0.006);
    expect(report.input).toEqual([
      { shape: [1, 512, 512, 3], dtype: 'float32' },
      { shape: [1], dtype: 'float32' },
      { name: 'labels', shape: [1], dtype: 'int32' },
    ]);
  });

  test('for people: totals and a tree to the depth asked for', async () => {
    const { said } = await run(['digits'], false, 1);
    expect(said).toMatch(/^digits \(@mezzotint\/unet\): /);
    expect(said).toContain('parameters 735,473');
    expect(said).toMatch(/^ {2}input_blocks /m);
    expect(said).not.toMatch(/^ {4}\S/m);
    expect((await run(['digits'], false, 2)).said).toMatch(/^ {4}0 /m);
    expect((await run(['digits'], false, 0)).said).not.toMatch(/^ {2}\S/m);
  });

  test('unknown: one line that names what is near', () => {
    const error = (() => {
      try {
        return presetNamed('adm-51');
      } catch (e) {
        return e as Error;
      }
    })() as Error;
    expect(MezzotintError.isInstance(error)).toBe(true);
    expect(error.message).toMatch(/^no preset is called 'adm-51'\. Near: adm-512, .*$/);
  });
});

describe('the list', () => {
  test('has every preset once, with the numbers that the preset alone has', async () => {
    const { results } = await run([], true);
    const reports = results[0] as readonly PresetReport[];
    expect(reports.map((r) => r.name)).toEqual(listed.map(({ preset }) => preset.name));
    expect(new Set(reports.map((r) => r.name)).size).toBe(reports.length);
    for (const { parameters, macs, about } of reports) {
      expect(parameters).toBeGreaterThan(0);
      expect(macs).toBeGreaterThan(0);
      expect(about).not.toContain('\n');
    }
    expect(reports.find((r) => r.name === 'adm-512')).toEqual((await run(['adm-512'], true)).results[0]);
  });

  test('for people has one line a preset', async () => {
    const { said } = await run([], false);
    expect(said.split('\n')).toHaveLength(listed.length + 1);
    expect(said).toMatch(/^adm-512 .* 558,997,638 +1,982\.33 G /m);
  });
});

test('a level that is no module is the sum of what is below it', () => {
  const row = (path: string, parameters: number, macs: number) => ({ path, type: 'T', parameters, macs, output: [1] });
  const root = treeOf([row('', 10, 100), row('list.0', 2, 20), row('list.1.deep', 3, 30), row('last', 5, 50)]);
  const find = (branch: Branch, name: string) => branch.children.find((child) => child.name === name)!;
  expect(find(root, 'list')).toMatchObject({ type: undefined, parameters: 5, macs: 50, output: undefined });
  expect(find(find(root, 'list'), '1')).toMatchObject({ parameters: 3, macs: 30 });
  expect(treeText(root, 1).split('\n')).toHaveLength(4);
});

test('numbers as people read them', () => {
  expect([0, 1_234_567, 59_000_000, 1_982_334_763_008].map(macsText)).toEqual([
    '0.00 G',
    '1.23 M',
    '0.06 G',
    '1,982.33 G',
  ]);
  expect(parametersText(558_997_638)).toBe('558,997,638');
  expect(
    columns(
      [
        ['a', '1'],
        ['bbb', '22'],
      ],
      new Set([1]),
    ),
  ).toBe('a     1\nbbb  22');
});

test('nearest names', () => {
  expect(nearest('ADM512', ['dit-xl-2', 'adm-256', 'adm-512'], 1)).toEqual(['adm-512']);
  expect(nearest('clasifier-64', ['adm-64', 'adm-classifier-64', 'adm-classifier-128'], 1)).toEqual([
    'adm-classifier-64',
  ]);
});

test('as a program: only JSON on standard output, and exit code 2 for bad input', { timeout: 60_000 }, () => {
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  const program = (...args: string[]) =>
    spawnSync(process.execPath, ['--conditions=@mezzotint/source', '--import', 'tsx', main, ...args], {
      encoding: 'utf8',
    });
  const good = program('digits', '--json');
  expect(good.status).toBe(0);
  expect(good.stdout.trim().split('\n')).toHaveLength(1);
  expect(JSON.parse(good.stdout)).toMatchObject({ name: 'digits', parameters: 735_473 });
  const bad = program('digit', '--json');
  expect(bad.status).toBe(2);
  expect(bad.stdout).toBe('');
  expect(bad.stderr.trim().split('\n')).toHaveLength(1);
  expect(bad.stderr).toContain("no preset is called 'digit'. Near: digits");
});
