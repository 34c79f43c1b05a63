export {
  architectures,
  clip,
  clipText,
  clipTextWithProjection,
  clipVision,
  clipVisionWithProjection,
  presets,
  t5Encoder,
} from './architectures.js';
export { ClipModel, type ClipOutput } from './clip/clip.js';
export type { ClipConfig, ClipTextConfig, ClipTowerConfig, ClipVisionConfig } from './clip/config.js';
export { clipTextFromShapes } from './clip/from-shapes.js';
export {
  clipFromTransformers,
  clipTextFromTransformers,
  clipVisionFromTransformers,
} from './clip/from-transformers.js';
export type { HiddenStateOptions } from './clip/skip.js';
export {
  ClipTextModel,
  ClipTextModelWithProjection,
  type ClipTextOutput,
  type ClipTextProjectionOutput,
} from './clip/text.js';
export {
  clipPreprocessorToTransformers,
  clipTextToTransformers,
  clipTokenizerToTransformers,
  clipToTransformers,
} from './clip/to-transformers.js';
export {
  ClipVisionModel,
  ClipVisionModelWithProjection,
  type ClipVisionOutput,
  type ClipVisionProjectionOutput,
  clipPixels,
} from './clip/vision.js';
export {
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
export { alignChunks, chunkPrompt, type PromptChunk, type PromptSyntax } from './prompts/chunks.js';
export {
  encodeSdPrompts,
  encodeSdxlPrompts,
  type PromptOptions,
  type SdPromptOptions,
  type SdxlPrompt,
  type SdxlPromptOptions,
  type SdxlTextEncoders,
  type TextEncoder,
} from './prompts/encode.js';
export {
  type CaptionEncoder,
  type CaptionOptions,
  captionShape,
  type EncodedCaptions,
  type EncodedTexts,
  encodeCaptions,
  encodeTexts,
} from './prompts/encode-captions.js';
export {
  encodeFluxPrompts,
  encodeSd3Prompts,
  type FluxTextEncoders,
  type Sd3PromptOptions,
  type Sd3TextEncoders,
  type T5Prompt,
  type T5PromptOptions,
} from './prompts/encode-t5.js';
export { parseWeights, type WeightedText } from './prompts/weights.js';
export type { T5EncoderConfig } from './t5/config.js';
export { T5EncoderModel, type T5Inputs } from './t5/encoder.js';
export { t5FromShapes } from './t5/from-shapes.js';
export { t5FromTransformers } from './t5/from-transformers.js';
export type { AddedToken } from './tokenizers/added-tokens.js';
export { type ClipTokenizerFiles, type ClipTokenizerOptions, clipTokenizer } from './tokenizers/clip-tokenizer.js';
export { clipVocabulary } from './tokenizers/clip-vocabulary.js';
export { type TokenizerOptions, tokenizerOptionsFromTransformers } from './tokenizers/options.js';
export { type GgufVocabulary, type T5TokenizerFiles, t5Tokenizer } from './tokenizers/t5-tokenizer.js';
export { type PaddedIds, padIds, type TokenizedTexts, type Tokenizer, tokenize } from './tokenizers/tokenizer.js';
export {
  type ClipVocabulary,
  trainClipVocabulary,
  type VocabularyOptions,
} from './tokenizers/train-clip-vocabulary.js';
