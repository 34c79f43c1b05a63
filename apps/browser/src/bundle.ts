import { copyFile, mkdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build } from 'esbuild';

const source = fileURLToPath(new URL('./page/', import.meta.url));

/** How scripts are bundled for browsers, from the sources of our packages. */
export const forBrowsers = {
  absWorkingDir: source,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  conditions: ['@mezzotint/source'],
  logLevel: 'warning',
  // Names stay: the threads of WebAssembly are started with the text of a function.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
} satisfies BuildOptions;

/** The files of WebAssembly, with SIMD and threads where the browser has them. */
export const wasmFiles = ['', '-simd', '-threaded-simd'].map((kind) =>
  join(
    dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')),
    `tfjs-backend-wasm${kind}.wasm`,
  ),
);

/** Writes the page with all that it needs into a folder, which is replaced. */
export async function bundlePage(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await build({
    ...forBrowsers,
    entryPoints: ['page.ts', 'worker.ts', 'style.css', 'index.html'],
    loader: { '.html': 'copy' },
    splitting: true,
    outdir: folder,
  });
  for (const file of wasmFiles) await copyFile(file, join(folder, basename(file)));
}
