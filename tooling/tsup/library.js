import { defineConfig } from 'tsup';

/** How every publishable package is built: ESM and types, dependencies left outside. */
export function library(entry = { index: 'src/index.ts' }) {
  return defineConfig({
    entry,
    format: ['esm'],
    target: 'es2022',
    platform: 'neutral',
    external: [/^node:/],
    dts: true,
    sourcemap: true,
    clean: true,
    treeshake: true,
  });
}

/**
 * How an app is built: one program for Node, no types. What only apps use goes into it: zod is a hundred files, which
 * take 0.1 s to load one by one, in each thread.
 */
export function app(entry = { main: 'src/main.ts' }) {
  return defineConfig({
    entry,
    format: ['esm'],
    target: 'node20',
    platform: 'node',
    noExternal: ['@mezzotint/app', 'zod'],
    // CommonJS packages that come with it call this for Node's own modules.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    sourcemap: true,
    clean: true,
  });
}
