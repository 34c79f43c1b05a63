import type { Preset } from '@mezzotint/core';
import { RIN } from './rin.js';
import type { RINConfig } from './rin-config.js';

/** What the published configurations share. */
const base = {
  inChannels: 3,
  latentMlpRatio: 4,
  latentPositions: 'learned',
  tokenPositions: 'learned',
  timeScale: 1000,
  timeOn: 'latents',
  labelOn: 'latents',
  writableConditions: false,
  normalizedKeys: false,
  selfConditioning: 'latents',
  selfConditioningRate: 0.9,
  dropout: 0,
  dropPath: 0,
} as const;

const imageNet = {
  ...base,
  patchSize: 8,
  tokenWidth: 512,
  tokenMlpRatio: 4,
  latentHeads: 16,
  readWriteHeads: 16,
  classes: 1000,
} as const;

/** CIFAR-10 as configured in the original repository. */
export const rinCifar10 = preset('rin-cifar10', 'RIN, CIFAR-10 32x32, as in the original repository', 32, {
  ...base,
  patchSize: 2,
  blocks: [2, 2, 2],
  latents: 128,
  latentWidth: 512,
  latentHeads: 16,
  tokenWidth: 256,
  tokenMlpRatio: 2,
  readWriteHeads: 8,
  classes: 10,
  dropout: 0.1,
  dropPath: 0.1,
});
/** ImageNet 64x64 as configured in the original repository. */
export const rinImageNet64 = preset('rin-imagenet64', 'RIN, ImageNet 64x64, as in the original repository', 64, {
  ...imageNet,
  blocks: [4, 4, 4, 4],
  latents: 128,
  latentWidth: 768,
});
/** ImageNet 128x128. The paper prints 410 M; these layers have 396 M. */
export const rinImageNet128 = preset('rin-imagenet128', 'RIN, ImageNet 128x128 (the paper prints 410 M)', 128, {
  ...imageNet,
  patchSize: 4,
  blocks: [4, 4, 4, 4, 4, 4],
  latents: 128,
  latentWidth: 1024,
});
/** ImageNet 256x256. The paper prints 410 M; these layers have 396 M. */
export const rinImageNet256 = preset('rin-imagenet256', 'RIN, ImageNet 256x256 (the paper prints 410 M)', 256, {
  ...imageNet,
  blocks: [4, 4, 4, 4, 4, 4],
  latents: 256,
  latentWidth: 1024,
});
/** ImageNet 512x512; the paper prints 320 M. */
export const rinImageNet512 = preset('rin-imagenet512', 'RIN, ImageNet 512x512', 512, {
  ...imageNet,
  blocks: [6, 6, 6, 6, 6, 6],
  latents: 256,
  latentWidth: 768,
});
/** ImageNet 1024x1024. */
export const rinImageNet1024 = preset('rin-imagenet1024', 'RIN, ImageNet 1024x1024', 1024, {
  ...imageNet,
  blocks: [6, 6, 6, 6, 6, 6],
  latents: 256,
  latentWidth: 768,
});

/** Every preset of this package. */
export const presets: readonly Preset<RIN>[] = [
  rinCifar10,
  rinImageNet64,
  rinImageNet128,
  rinImageNet256,
  rinImageNet512,
  rinImageNet1024,
];

function preset(
  name: string,
  about: string,
  pixels: number,
  rest: Omit<RINConfig, 'imageHeight' | 'imageWidth'>,
): Preset<RIN> {
  const config: RINConfig = { ...rest, imageHeight: pixels, imageWidth: pixels };
  return {
    name,
    about: `${about}, class-conditional (Jabri, Fleet and Chen 2022)`,
    config,
    build: () => new RIN(config),
    inputs: () => [{ shape: [1, pixels, pixels, 3] }, { shape: [1] }, { labels: { shape: [1], dtype: 'int32' } }],
  };
}
