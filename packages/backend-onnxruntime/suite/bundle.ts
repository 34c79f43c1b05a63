import { join } from 'node:path';
import { build } from 'esbuild';

/** The engines that the suite can run on. */
export const ENGINES = ['onnxruntime', 'wasm', 'cpu'] as const;

export type Engine = (typeof ENGINES)[number];

/** Node's own loader lacks these in a module; the specs and their helpers were written for CommonJS. */
const BANNER = [
  "import { createRequire as suiteCreateRequire } from 'node:module';",
  "import { dirname as suiteDirname } from 'node:path';",
  "import { fileURLToPath as suiteFileURLToPath } from 'node:url';",
  'const require = suiteCreateRequire(import.meta.url);',
  'const __filename = suiteFileURLToPath(import.meta.url);',
  'const __dirname = suiteDirname(__filename);',
].join('\n');

/**
 * Writes one file with an engine, the specs that tfjs-core ships and one copy of tfjs-core for both. The specs import
 * without file endings, which Node cannot load, and from the modules of `dist`, which would be a second copy beside the
 * bundle that Node resolves `@tensorflow/tfjs-core` to.
 */
export async function bundleSpecs(folder: string, engine: Engine, outfile: string): Promise<void> {
  await build({
    stdin: {
      contents: `import './suite/engines/${engine}.ts';\nimport '@tensorflow/tfjs-core/dist/tests.js';`,
      resolveDir: folder,
      sourcefile: join(folder, 'suite-entry.ts'),
    },
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    conditions: ['@mezzotint/source'],
    mainFields: ['module', 'main'],
    // tfjs-core declares its specs free of side effects.
    ignoreAnnotations: true,
    external: ['onnxruntime-node', 'jasmine-core', 'node-fetch'],
    banner: { js: BANNER },
    logLevel: 'error',
  });
}
