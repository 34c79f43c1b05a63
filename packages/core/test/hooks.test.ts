import type * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { type AttentionCall, activeHooks, isSkipped, withHooks } from '../src/index.js';

/** Stands for a tensor: hooks only pass them on. */
const named = (name: string) => name as unknown as tf.Tensor4D;

const call = (log: string[]): AttentionCall => ({
  by: undefined,
  q: named('q'),
  k: named('k'),
  v: named('v'),
  mask: undefined,
  scale: 1,
  attend(changed = {}) {
    log.push(`attend ${JSON.stringify(changed)}`);
    return named('o');
  },
});

test('hooks hold inside the body only, also when it throws', () => {
  const hooks = { skips: () => true };
  expect(activeHooks()).toBeUndefined();
  expect(withHooks(hooks, () => activeHooks())).toBe(hooks);
  expect(() =>
    withHooks(hooks, () => {
      throw new Error('inside');
    }),
  ).toThrow('inside');
  expect(activeHooks()).toBeUndefined();
  expect(isSkipped({})).toBe(false);
});

test('an asynchronous body is refused, since its later parts would run without the hooks', () => {
  expect(() => withHooks({}, async () => {})).toThrow(/synchronous/);
});

test('nested hooks: the inner one is asked first, and leaves the rest to the outer one with its changes', () => {
  const log: string[] = [];
  const layer = {};
  const outer = {
    attention: (seen: AttentionCall) => {
      log.push(`outer q=${seen.q} scale=${seen.scale}`);
      return seen.attend({ k: named('k2') });
    },
    skips: (asked: object) => asked === layer,
  };
  const inner = {
    attention: (seen: AttentionCall) => {
      log.push(`inner q=${seen.q}`);
      return seen.attend({ q: named('q2'), scale: 3 });
    },
  };
  withHooks(outer, () =>
    withHooks(inner, () => {
      expect(activeHooks()!.attention!(call(log))).toBe('o');
      expect(isSkipped(layer)).toBe(true);
      expect(isSkipped({})).toBe(false);
    }),
  );
  expect(log).toEqual(['inner q=q', 'outer q=q2 scale=3', 'attend {"q":"q2","scale":3,"k":"k2"}']);
});

test('a hook of the outer scope serves inside an inner scope that has none', () => {
  const log: string[] = [];
  const outer = { attention: (seen: AttentionCall) => seen.attend({ scale: 2 }) };
  withHooks(outer, () => withHooks({ skips: () => false }, () => activeHooks()!.attention!(call(log))));
  expect(log).toEqual(['attend {"scale":2}']);
});

test('another copy of the package shares the hooks', async () => {
  vi.resetModules();
  const copy = await import('../src/hooks.js');
  expect(copy.withHooks).not.toBe(withHooks);
  const hooks = { skips: () => true };
  copy.withHooks(hooks, () => expect(activeHooks()).toBe(hooks));
});
