import { defineProject } from 'vitest/config';

/** A vitest project that reads our packages from `src`, so that tests need no build. */
export function project(name) {
  return defineProject({
    ssr: { resolve: { conditions: ['@mezzotint/source', 'module', 'node', 'import', 'default'] } },
    test: { name, include: ['test/**/*.test.ts'], environment: 'node', testTimeout: 120_000 },
  });
}
