import type { Preset } from '@mezzotint/core';
import { ClipModel } from './clip/clip.js';
import type { ClipTextConfig, ClipVisionConfig } from './clip/config.js';
import { ClipTextModel, ClipTextModelWithProjection } from './clip/text.js';
import type { T5EncoderConfig } from './t5/config.js';
import { T5EncoderModel } from './t5/encoder.js';

/** What all published CLIP text towers share. */
const text = { vocabSize: 49408, positions: 77, pooledToken: 'largest', epsilon: 1e-5 } as const;

/** Text tower of OpenAI's CLIP ViT-B. Radford et al. 2021, table 19. */
const textB: ClipTextConfig & { projection: number } = {
  ...text,
  width: 512,
  mlpWidth: 2048,
  layers: 12,
  heads: 8,
  activation: 'quick',
  projection: 512,
};

/** Text tower of OpenAI's CLIP ViT-L/14. Radford et al. 2021, table 19. */
const textL: ClipTextConfig & { projection: number } = {
  ...text,
  width: 768,
  mlpWidth: 3072,
  layers: 12,
  heads: 12,
  activation: 'quick',
  projection: 768,
};

/** Text tower of OpenCLIP's ViT-H/14 without its last layer. */
const textH: ClipTextConfig = {
  ...text,
  width: 1024,
  mlpWidth: 4096,
  layers: 23,
  heads: 16,
  activation: 'erf',
  projection: null,
};

/** Text tower of OpenCLIP's ViT-bigG/14. */
const textBigG: ClipTextConfig & { projection: number } = {
  ...text,
  width: 1280,
  mlpWidth: 5120,
  layers: 32,
  heads: 20,
  activation: 'erf',
  projection: 1280,
};

const texts = (length: number) => ({ shape: [1, length], dtype: 'int32' }) as const;

function clipText(name: string, about: string, config: ClipTextConfig): Preset<ClipTextModel> {
  return { name, about, config, build: () => new ClipTextModel(config), inputs: () => [texts(config.positions)] };
}

function clipTextProjection(
  name: string,
  about: string,
  config: ClipTextConfig & { readonly projection: number },
): Preset<ClipTextModelWithProjection> {
  return {
    name,
    about,
    config,
    build: () => new ClipTextModelWithProjection(config),
    inputs: () => [texts(config.positions)],
  };
}

function clip(name: string, about: string, text: ClipTextConfig, vision: ClipVisionConfig): Preset<ClipModel> {
  const { imageSize, channels } = vision;
  return {
    name,
    about,
    config: { text, vision },
    build: () => new ClipModel({ text, vision }),
    inputs: () => [texts(text.positions), { shape: [1, imageSize, imageSize, channels] }],
  };
}

/** CLIP ViT-L/14's text encoder, as in Stable Diffusion 1. */
export const clipTextL14 = clipText(
  'clip-vit-l-14-text',
  'CLIP ViT-L/14 text encoder, Stable Diffusion 1 and XL (Radford et al. 2021)',
  { ...textL, projection: null },
);

/** CLIP ViT-L/14's text encoder with projection, as in Stable Diffusion 3. */
export const clipTextL14Projection = clipTextProjection(
  'clip-vit-l-14-text-projection',
  'CLIP ViT-L/14 text encoder with projection, Stable Diffusion 3 (Radford et al. 2021)',
  textL,
);

/** OpenCLIP ViT-H/14's text encoder without its last layer, as in Stable Diffusion 2. */
export const openClipTextH14 = clipText(
  'openclip-vit-h-14-text',
  'OpenCLIP ViT-H/14 text encoder, 23 of 24 layers, Stable Diffusion 2 (Cherti et al. 2022)',
  textH,
);

/** OpenCLIP ViT-bigG/14's text encoder with projection, as in Stable Diffusion XL. */
export const openClipTextBigG14 = clipTextProjection(
  'openclip-vit-bigg-14-text',
  'OpenCLIP ViT-bigG/14 text encoder with projection, Stable Diffusion XL and 3 (Cherti et al. 2022)',
  textBigG,
);

const visionB: ClipVisionConfig = {
  imageSize: 224,
  patchSize: 32,
  channels: 3,
  width: 768,
  mlpWidth: 3072,
  layers: 12,
  heads: 12,
  activation: 'quick',
  epsilon: 1e-5,
  projection: 512,
};

/** CLIP ViT-B/32, text and image. */
export const clipB32 = clip('clip-vit-b-32', 'CLIP ViT-B/32, text and image (Radford et al. 2021)', textB, visionB);

/** CLIP ViT-B/16, text and image. */
export const clipB16 = clip('clip-vit-b-16', 'CLIP ViT-B/16, text and image (Radford et al. 2021)', textB, {
  ...visionB,
  patchSize: 16,
});

const visionL: ClipVisionConfig = {
  ...visionB,
  ...{ patchSize: 14, width: 1024, mlpWidth: 4096, layers: 24, heads: 16, projection: 768 },
};

/** CLIP ViT-L/14, text and image, the one of CLIP scores. */
export const clipL14 = clip('clip-vit-l-14', 'CLIP ViT-L/14, text and image (Radford et al. 2021)', textL, visionL);

/** CLIP ViT-L/14 at 336 pixels, text and image, the one of CMMD. */
export const clipL14At336 = clip(
  'clip-vit-l-14-336',
  'CLIP ViT-L/14 at 336 pixels, text and image (Radford et al. 2021)',
  textL,
  { ...visionL, imageSize: 336 },
);

/** OpenCLIP ViT-H/14, text and image. */
export const openClipH14 = clip(
  'openclip-vit-h-14',
  'OpenCLIP ViT-H/14, text and image (Cherti et al. 2022)',
  { ...textH, layers: 24, projection: 1024 },
  {
    ...visionL,
    ...{ width: 1280, mlpWidth: 5120, layers: 32, heads: 16, projection: 1024, activation: 'erf' },
  },
);

/** OpenCLIP ViT-bigG/14, text and image. */
export const openClipBigG14 = clip(
  'openclip-vit-bigg-14',
  'OpenCLIP ViT-bigG/14, text and image (Cherti et al. 2022)',
  textBigG,
  {
    ...visionL,
    ...{ width: 1664, mlpWidth: 8192, layers: 48, heads: 16, projection: 1280, activation: 'erf' },
  },
);

function t5(
  size: string,
  { width, mlpWidth, layers, heads }: Pick<T5EncoderConfig, 'width' | 'mlpWidth' | 'layers' | 'heads'>,
): Preset<T5EncoderModel> {
  const config: T5EncoderConfig = {
    ...{ vocabSize: 32128, width, headWidth: 64, heads, mlpWidth, layers },
    ...{ activation: 'tanh' as const, gated: true, buckets: 32, maxDistance: 128, epsilon: 1e-6 },
  };
  return {
    name: `t5-v1_1-${size}-encoder`,
    about: `T5 version 1.1 ${size} encoder, 256 tokens (Raffel et al. 2020)`,
    config,
    build: () => new T5EncoderModel(config),
    inputs: () => [texts(256)],
  };
}

/** T5 version 1.1 small's encoder. */
export const t5Small = t5('small', { width: 512, mlpWidth: 1024, layers: 8, heads: 6 });

/** T5 version 1.1 base's encoder. */
export const t5Base = t5('base', { width: 768, mlpWidth: 2048, layers: 12, heads: 12 });

/** T5 version 1.1 large's encoder. */
export const t5Large = t5('large', { width: 1024, mlpWidth: 2816, layers: 24, heads: 16 });

/** T5 version 1.1 XL's encoder. */
export const t5Xl = t5('xl', { width: 2048, mlpWidth: 5120, layers: 24, heads: 32 });

/** T5 version 1.1 XXL's encoder, as in Imagen, Stable Diffusion 3 and FLUX. */
export const t5Xxl = t5('xxl', { width: 4096, mlpWidth: 10240, layers: 24, heads: 64 });
