import { defineConfig } from 'tsup';

/** How every publishable package is built: ESM and types, dependencies left outside. */
export function library(entry: Record<string, string> = { index: 'src/index.ts' }) {
  return defineConfig({
    entry,
    format: ['esm'],
    target: 'es2022',
    platform: 'neutral',
    dts: true,
    sourcemap: true,
    clean: true,
    treeshake: true,
  });
}
