import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { library } from '@mezzotint/tsup';

const core = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-core/package.json'));

export default {
  ...library({ index: 'src/index.ts', testing: 'src/testing.ts', wasm: 'src/wasm.ts', worker: 'src/worker.ts' }),
  esbuildPlugins: [
    {
      // See src/register-gradients.ts: bundle the gradients alone, which register themselves on the program's tfjs-core.
      name: 'gradients-alone',
      setup(build: { onResolve(on: { filter: RegExp }, then: () => { path: string }): void }) {
        build.onResolve({ filter: /^@tensorflow\/tfjs$/ }, () => ({
          path: join(core, 'dist/register_all_gradients.js'),
        }));
      },
    },
  ],
};
