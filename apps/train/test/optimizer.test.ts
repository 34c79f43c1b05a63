import { readFileSync } from 'node:fs';
import { architectureOfKind } from '@mezzotint/architectures';
import { noDecayOnBiasAndNorm } from '@mezzotint/training';
import { expect, test } from 'vitest';
import { trainConfigSchema } from '../src/config.js';
import { networkConfig } from '../src/network-config.js';

/** Last names of a configuration's parameters of several axes that do not decay. */
function undecayed(file: string): Set<string> {
  const json: unknown = JSON.parse(readFileSync(new URL(`../configs/${file}`, import.meta.url), 'utf8'));
  const config = trainConfigSchema.parse(json);
  if (config.task !== 'diffusion') throw new Error(`${file}: another task`);
  const architecture = architectureOfKind('denoiser', config.architecture);
  const model = architecture.build(
    networkConfig(architecture, config.network, { imageSize: 32, channels: 3, classes: 6 }),
  );
  const paths = [...model.params()].filter(
    ([path, { shape, trainable }]) => trainable && shape.length > 1 && !noDecayOnBiasAndNorm(path, shape),
  );
  return new Set(paths.map(([path]) => path.split('.').at(-1)!));
}

// RIN: pix2seq's exclusions bias|beta|gamma, its positions decay. ZigMa: A_log and D. U-ViT: the original's no_weight_decay.
test.each([
  ['emoji-rin.json', ['bias']],
  ['emoji-zigma.json', ['A_log', 'pos_embed']],
  ['emoji-uvit.json', ['pos_embed']],
  ['emoji-dit.json', []],
  ['emoji-adm.json', []],
])('%s: what does not decay though it has several axes', (file, names) => {
  expect([...undecayed(file)].sort()).toEqual(names);
});
