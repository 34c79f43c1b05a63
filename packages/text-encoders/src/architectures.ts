import { type OtherArchitecture, type Preset, throwIf } from '@mezzotint/core';
import { ClipModel } from './clip/clip.js';
import {
  clipFromTransformers,
  clipTextFromTransformers,
  clipVisionFromTransformers,
} from './clip/from-transformers.js';
import { ClipTextModel, ClipTextModelWithProjection } from './clip/text.js';
import { ClipVisionModel, ClipVisionModelWithProjection } from './clip/vision.js';
import {
  clipB16,
  clipB32,
  clipL14,
  clipL14At336,
  clipTextL14,
  clipTextL14Projection,
  openClipBigG14,
  openClipH14,
  openClipTextBigG14,
  openClipTextH14,
  t5Base,
  t5Large,
  t5Small,
  t5Xl,
  t5Xxl,
} from './presets.js';
import { T5EncoderModel } from './t5/encoder.js';
import { t5FromTransformers } from './t5/from-transformers.js';

const shared = { kind: 'text-encoder', package: '@mezzotint/text-encoders' } as const;

/** CLIP's text encoder. */
export const clipText: OtherArchitecture<ClipTextModel> = {
  ...shared,
  name: 'ClipTextModel',
  about: "CLIP's text encoder (Radford et al. 2021)",
  presets: [clipTextL14, openClipTextH14],
  build: (config) => new ClipTextModel(config),
  references: [{ library: 'transformers', className: 'CLIPTextModel', config: clipTextFromTransformers }],
};

/** CLIP's text encoder with its projection. */
export const clipTextWithProjection: OtherArchitecture<ClipTextModelWithProjection> = {
  ...shared,
  name: 'ClipTextModelWithProjection',
  about: "CLIP's text encoder with its projection (Radford et al. 2021)",
  presets: [clipTextL14Projection, openClipTextBigG14],
  build: (config) => new ClipTextModelWithProjection(config),
  references: [{ library: 'transformers', className: 'CLIPTextModelWithProjection', config: clipTextFromTransformers }],
};

/** CLIP's image encoder. */
export const clipVision: OtherArchitecture<ClipVisionModel> = {
  ...shared,
  kind: 'feature-network',
  name: 'ClipVisionModel',
  about: "CLIP's image encoder (Radford et al. 2021)",
  presets: [],
  build: (config) => new ClipVisionModel(config),
  references: [{ library: 'transformers', className: 'CLIPVisionModel', config: clipVisionFromTransformers }],
};

/** CLIP's image encoder with its projection. */
export const clipVisionWithProjection: OtherArchitecture<ClipVisionModelWithProjection> = {
  ...shared,
  kind: 'feature-network',
  name: 'ClipVisionModelWithProjection',
  about: "CLIP's image encoder with its projection (Radford et al. 2021)",
  presets: [],
  build: (config) => new ClipVisionModelWithProjection(config),
  references: [
    { library: 'transformers', className: 'CLIPVisionModelWithProjection', config: clipVisionFromTransformers },
  ],
};

/** What `small`, `medium` and `large` are: widths and layers of both towers, and patches of the image a side at most. */
const clipSizes = {
  small: { text: { width: 256, layers: 4 }, vision: { width: 192, layers: 6 }, patches: 8 },
  medium: { text: { width: 384, layers: 8 }, vision: { width: 384, layers: 8 }, patches: 16 },
  large: { text: { width: 512, layers: 12 }, vision: { width: 768, layers: 12 }, patches: 16 },
} as const;

/** Tokens of a text for a sized CLIP: captions are short. */
const clipPositions = 32;

/** CLIP whole. */
export const clip: OtherArchitecture<ClipModel> = {
  ...shared,
  kind: 'feature-network',
  name: 'ClipModel',
  about: 'CLIP, text and image in one space (Radford et al. 2021)',
  presets: [clipB16, clipB32, clipL14, clipL14At336, openClipH14, openClipBigG14],
  build: (config) => new ClipModel(config),
  sized(size, { imageSize, channels, vocabSize }) {
    throwIf('ClipModel', [
      ...(vocabSize === undefined ? ['expected the size of a vocabulary, got none'] : []),
      ...(channels === 3 ? [] : [`expected colour pictures, got ${channels} channel${channels === 1 ? '' : 's'}`]),
    ]);
    const { text, vision, patches } = clipSizes[size];
    const tower = ({ width, layers }: { width: number; layers: number }) =>
      ({ width, mlpWidth: 4 * width, layers, heads: width / 64, activation: 'quick', epsilon: 1e-5 }) as const;
    let patchSize = Math.ceil(imageSize / patches);
    while (imageSize % patchSize !== 0) patchSize++;
    const projection = text.width;
    const tokens = { vocabSize: vocabSize!, positions: clipPositions, pooledToken: vocabSize! - 1 };
    return {
      text: { ...tower(text), ...tokens, projection },
      vision: { ...tower(vision), imageSize, patchSize, channels, projection },
    };
  },
  references: [{ library: 'transformers', className: 'CLIPModel', config: clipFromTransformers }],
};

/** T5's encoder. */
export const t5Encoder: OtherArchitecture<T5EncoderModel> = {
  ...shared,
  name: 'T5EncoderModel',
  about: "T5's encoder (Raffel et al. 2020)",
  presets: [t5Small, t5Base, t5Large, t5Xl, t5Xxl],
  build: (config) => new T5EncoderModel(config),
  references: [{ library: 'transformers', className: 'T5EncoderModel', config: t5FromTransformers }],
};

/** Every architecture of this package. */
export const architectures = [
  clipText,
  clipTextWithProjection,
  clipVision,
  clipVisionWithProjection,
  clip,
  t5Encoder,
] as const;

/** Every preset of this package. */
export const presets: readonly Preset[] = architectures.flatMap(({ presets }): readonly Preset[] => presets);
