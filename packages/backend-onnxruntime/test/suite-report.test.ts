import { expect, test } from 'vitest';
import { problemsOf, type SpecResult } from '../suite/report.js';

const passed = (name: string): SpecResult => ({ name, outcome: 'passed' });
const failed = (name: string): SpecResult => ({ name, outcome: 'failed', reason: 'Arrays differ' });

test('a listed failure is no problem', () => {
  expect(problemsOf([passed('a'), failed('b')], [{ name: 'b', reason: 'why' }], {})).toEqual([]);
});

test('an unlisted failure is one, with its reason', () => {
  const [problem] = problemsOf([failed('b')], [], {});
  expect(problem).toMatch(/not listed: b\n.*Arrays differ/);
});

test('a listed spec that passes or is gone is one', () => {
  const known = ['a', 'z'].map((name) => ({ name, reason: 'why' }));
  expect(problemsOf([passed('a')], known, {})).toHaveLength(2);
});

test('another engine that passes more of our specs is one; specs defined for it alone do not count', () => {
  const ours = [passed('a'), failed('b')];
  const known = [{ name: 'b', reason: 'why' }];
  expect(problemsOf(ours, known, { cpu: [passed('a'), passed('only cpu')] })).toEqual([]);
  expect(problemsOf(ours, known, { cpu: [passed('a'), passed('b')] })).toEqual(['cpu passes 2 of our specs, ours 1']);
});
