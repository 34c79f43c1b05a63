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

/** How an app is built: one program for Node, no types. */
export function app(entry = { main: 'src/main.ts' }) {
  return defineConfig({ entry, format: ['esm'], target: 'node20', platform: 'node', sourcemap: true, clean: true });
}
