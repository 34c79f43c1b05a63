import { defineProject } from 'vitest/config';

const typescript = new URL('../setup/typescript.mjs', import.meta.url).href;

/** A vitest project that reads our packages from `src`, so that tests need no build. */
export function project(name) {
  return defineProject({
    ssr: { resolve: { conditions: ['@mezzotint/source', 'module', 'node', 'import', 'default'] } },
    test: { name, include: ['test/**/*.test.ts'], environment: 'node', testTimeout: 120_000 },
  });
}

/** A project whose tests start worker threads, which read our packages from `src` too. */
export function projectWithThreads(name) {
  const one = project(name);
  return {
    ...one,
    test: { ...one.test, hookTimeout: 120_000, execArgv: ['--conditions=@mezzotint/source', '--import', typescript] },
  };
}
