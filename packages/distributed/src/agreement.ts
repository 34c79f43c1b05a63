import { MezzotintError } from '@mezzotint/core';
import type { Group } from './group.js';

/** A value of every rank, in the order of ranks; anything that JSON can say. */
export async function allGatherJson<T>(group: Group, value: T): Promise<T[]> {
  if (group.size === 1) return [value];
  const all = await group.allGather(new TextEncoder().encode(JSON.stringify({ value })));
  return all.map((bytes) => (JSON.parse(new TextDecoder().decode(bytes)) as { value: T }).value);
}

/** The value of `root` on every rank; others give none. */
export async function broadcastJson<T>(group: Group, value: T | undefined, root = 0): Promise<T> {
  if (group.size === 1) return value as T;
  const own = group.rank === root ? new TextEncoder().encode(JSON.stringify({ value })) : new Uint8Array(0);
  const length = await group.broadcast(Float64Array.of(own.length), root);
  const bytes = await group.broadcast(group.rank === root ? own : new Uint8Array(length[0]!), root);
  return (JSON.parse(new TextDecoder().decode(bytes)) as { value: T }).value;
}

/** Longest value that a message shows. */
const SHOWN = 80;

/**
 * Makes sure that every rank was started with the same settings: they are compared key by key, also inside of objects.
 *
 * @throws MezzotintError `MEZZOTINT_RANKS_DIFFER` on every rank, with each key that differs, its values and the ranks that have them
 */
export async function checkSame(group: Group, who: string, settings: object): Promise<void> {
  const all = (await allGatherJson(group, settings)).map((of) => leaves(of));
  const keys = [...new Set(all.flatMap((of) => [...of.keys()]))];
  const problems = keys.flatMap((key) => {
    const ranks = new Map<string, number[]>();
    for (const [rank, of] of all.entries()) {
      const value = of.get(key) ?? 'nothing';
      ranks.set(value, [...(ranks.get(value) ?? []), rank]);
    }
    if (ranks.size === 1) return [];
    const shown = [...ranks].map(([value, on]) => `${cut(value)} on rank${on.length > 1 ? 's' : ''} ${on.join(', ')}`);
    return [`${key} differs: ${shown.join('; ')}`];
  });
  if (problems.length === 0) return;
  const text = problems.map((line) => `  ${line}`).join('\n');
  throw new MezzotintError(
    'MEZZOTINT_RANKS_DIFFER',
    `${who}: the ranks were started with different settings:\n${text}`,
    {
      problems,
    },
  );
}

/** The values that are no objects, by their keys with dots between, as JSON. */
function leaves(value: unknown, key = '', into = new Map<string, string>()): Map<string, string> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [name, inner] of Object.entries(value)) leaves(inner, key === '' ? name : `${key}.${name}`, into);
  } else if (value !== undefined) into.set(key, JSON.stringify(value));
  return into;
}

function cut(text: string): string {
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}…`;
}
