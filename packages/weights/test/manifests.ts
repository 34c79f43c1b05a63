import { readFileSync } from 'node:fs';
import { numbered } from './synthetic.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

const file = JSON.parse(readFileSync(new URL('fixtures/golden/manifests.json', import.meta.url), 'utf8')) as {
  manifests: Record<string, Shapes>;
};

/** Names and shapes of a published model (fixtures/make-golden.py). */
export function manifest(name: string): Shapes {
  return file.manifests[name]!;
}

/** A published model with 1/64 of its rows and two of its columns, so that its numbers fit into memory. */
export function shrunk(name: string): ReturnType<typeof numbered> {
  const rows = (d: number) => (d % 64 === 0 ? d / 64 : d);
  return numbered(
    Object.fromEntries(
      Object.entries(manifest(name)).map(([key, shape]) => [
        key,
        shape.map((d, axis) => (axis === 0 ? rows(d) : Math.min(d, 2))),
      ]),
    ),
    name,
  );
}
