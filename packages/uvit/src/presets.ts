import type { Preset } from '@mezzotint/core';
import { UViT } from './uvit.js';
import { type UViTConfig, uvitFromOriginal, uvitTextToImageFromOriginal } from './uvit-config.js';

/** Width, depth and heads. Bao et al. 2022, table 1 (`depth` without the middle block). */
const sizes = {
  S: { width: 512, depth: 12, heads: 8 },
  M: { width: 768, depth: 16, heads: 12 },
  L: { width: 1024, depth: 20, heads: 16 },
  // Its configuration has no last convolution.
  H: { width: 1152, depth: 28, heads: 16, finalConv: false },
} as const;

const unconditional = uvitFromOriginal({});
const imageNet64 = uvitFromOriginal({ num_classes: 1000, img_size: 64, patch_size: 4 });
const imageNetLatent = uvitFromOriginal({ num_classes: 1001, in_chans: 4 }, { nullLabel: true });
const coco = { ...uvitTextToImageFromOriginal({ img_size: 32, patch_size: 2, in_chans: 4 }), ...sizes.S };

/** U-ViT-S/2 of CIFAR-10, unconditional, in pixels. */
export const uvitS2Cifar10 = preset('uvit-s-2-cifar10', 'U-ViT-S/2, CIFAR-10 32x32, unconditional', {
  ...unconditional,
  ...sizes.S,
  imageSize: 32,
  patchSize: 2,
});
/** U-ViT-S/4 of CelebA 64x64, unconditional, in pixels. */
export const uvitS4CelebA = preset('uvit-s-4-celeba64', 'U-ViT-S/4, CelebA 64x64, unconditional', {
  ...unconditional,
  ...sizes.S,
  imageSize: 64,
  patchSize: 4,
});
/** U-ViT-M/4 of ImageNet 64x64, class-conditional without a null label, in pixels. */
export const uvitM4 = preset('uvit-m-4-imagenet64', 'U-ViT-M/4, ImageNet 64x64, class-conditional', {
  ...imageNet64,
  ...sizes.M,
});
/** U-ViT-L/4 of ImageNet 64x64, class-conditional without a null label, in pixels. */
export const uvitL4 = preset('uvit-l-4-imagenet64', 'U-ViT-L/4, ImageNet 64x64, class-conditional', {
  ...imageNet64,
  ...sizes.L,
});
/** U-ViT-L/2 of ImageNet 256x256 as 32x32 latent images of 4 channels. */
export const uvitL2 = preset('uvit-l-2', 'U-ViT-L/2, ImageNet 256x256, class-conditional, latent', {
  ...imageNetLatent,
  ...sizes.L,
  imageSize: 32,
  patchSize: 2,
});
/** U-ViT-H/2 of ImageNet 256x256 as 32x32 latent images of 4 channels. */
export const uvitH2 = preset('uvit-h-2', 'U-ViT-H/2, ImageNet 256x256, class-conditional, latent', {
  ...imageNetLatent,
  ...sizes.H,
  imageSize: 32,
  patchSize: 2,
});
/** U-ViT-L/4 of ImageNet 512x512 as 64x64 latent images of 4 channels. */
export const uvitL4At512 = preset('uvit-l-4-512', 'U-ViT-L/4, ImageNet 512x512, class-conditional, latent', {
  ...imageNetLatent,
  ...sizes.L,
  imageSize: 64,
  patchSize: 4,
});
/** U-ViT-H/4 of ImageNet 512x512 as 64x64 latent images of 4 channels. */
export const uvitH4At512 = preset('uvit-h-4-512', 'U-ViT-H/4, ImageNet 512x512, class-conditional, latent', {
  ...imageNetLatent,
  ...sizes.H,
  imageSize: 64,
  patchSize: 4,
});
/** U-ViT-S/2 of MS-COCO 256x256 with 77 tokens of CLIP-L, as 32x32 latent images of 4 channels. */
export const uvitS2Coco = preset('uvit-s-2-coco', 'U-ViT-S/2, MS-COCO 256x256, text to image, latent', coco);
/** U-ViT-S/2 (Deep) of MS-COCO 256x256, with 16 blocks beside the middle one. */
export const uvitS2DeepCoco = preset('uvit-s-2-deep-coco', 'U-ViT-S/2 (Deep), MS-COCO 256x256, text to image, latent', {
  ...coco,
  depth: 16,
});

/** Every preset of this package. */
export const presets: readonly Preset<UViT>[] = [
  uvitS2Cifar10,
  uvitS4CelebA,
  uvitM4,
  uvitL4,
  uvitL2,
  uvitH2,
  uvitL4At512,
  uvitH4At512,
  uvitS2Coco,
  uvitS2DeepCoco,
];

function preset(name: string, about: string, config: UViTConfig): Preset<UViT> {
  const { imageSize, inChannels, classes, context } = config;
  return {
    name,
    about: `${about} (Bao et al. 2022)`,
    config,
    build: () => new UViT(config),
    inputs: () => [
      { shape: [1, imageSize, imageSize, inChannels] },
      { shape: [1] },
      ...(classes === null ? [] : [{ labels: { shape: [1], dtype: 'int32' as const } }]),
      ...(context === null ? [] : [{ context: { shape: [1, context.tokens, context.width] } }]),
    ],
  };
}
