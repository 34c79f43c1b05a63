import { expect, test } from 'vitest';
import type { NativeSession } from '../src/native/binding.js';
import { type Program, ProgramCache } from '../src/session/program-cache.js';

function program(nodes: number, elements: number, disposed: string[], name: string): Program {
  const session: NativeSession = {
    loadModel: () => undefined,
    run: () => ({}),
    endProfiling: () => undefined,
    dispose: () => disposed.push(name),
  };
  const node = { op: 'Add', inputs: [], outputs: [] };
  const graph = { nodes: Array(nodes).fill(node), inputs: [], outputs: [], constants: [] };
  return {
    session,
    plan: {
      ...{ graph, kernels: [], inputs: [], outputs: [], kept: [], stop: undefined },
      ...{ largest: elements, elements, returnsMemory: false },
    },
  };
}

test('the least recently used program goes first, and its session is disposed', () => {
  const disposed: string[] = [];
  const cache = new ProgramCache({ programs: 2, nodes: 100, elements: 1000 });
  cache.set('a', program(1, 1, disposed, 'a'));
  cache.set('b', program(1, 1, disposed, 'b'));
  cache.get('a');
  cache.set('c', program(1, 1, disposed, 'c'));
  expect(disposed).toEqual(['b']);
  expect([cache.get('a'), cache.get('b'), cache.get('c')].map((p) => p !== undefined)).toEqual([true, false, true]);
});

test('nodes and elements count too, and the program just made always stays', () => {
  const disposed: string[] = [];
  const cache = new ProgramCache({ programs: 100, nodes: 10, elements: 1000 });
  cache.set('many nodes', program(8, 1, disposed, 'many nodes'));
  cache.set('more nodes', program(8, 1, disposed, 'more nodes'));
  cache.set('large', program(1, 900, disposed, 'large'));
  cache.set('larger', program(1, 5000, disposed, 'larger'));
  expect(disposed).toEqual(['many nodes', 'more nodes', 'large']);
  expect(cache.size).toBe(1);
  cache.clear();
  expect(disposed).toContain('larger');
});
