export { type BlobFiles, blobFile, blobFolder, type OpenBlobsOptions, openPipeline } from './blob-files.js';
export { cleanCaption } from './clean-caption.js';
export { klCodec, type LatentAutoencoder, type LatentRgb, linearPreview, standardizedCodec } from './codec.js';
export { type OpenedCodec, type OwnAutoencoder, openCodec } from './codec-folder.js';
export { cascadeConfigSchema, cascadeFamily } from './families/cascade.js';
export { admFamily } from './families/classes/adm.js';
export { ddpm } from './families/classes/ddpm.js';
export { ditFamily } from './families/classes/dit.js';
export { ownModel, pipelineOfNetwork } from './families/classes/own-model.js';
export { deepFloydIf } from './families/deepfloyd-if.js';
export { families } from './families/index.js';
export { flux } from './families/mmdit/flux.js';
export { stableDiffusion3 } from './families/mmdit/sd3.js';
export { stableDiffusion } from './families/stable-diffusion/family.js';
export { absentCaption, conditionsOf } from './families/text-stage.js';
export {
  type Candidate,
  type Family,
  lookAt,
  type ModelFiles,
  type OpenContext,
  openDefinition,
} from './family.js';
export { type FitPartsOptions, fitParts } from './fit.js';
export { unusedBy } from './guidance.js';
export { parseLabels } from './labels.js';
export {
  type AutoencoderModelConfig,
  autoencoderConfigSchema,
  type ClassifierModelConfig,
  classifierConfigSchema,
  type DiffusionConfig,
  diffusionConfigSchema,
  imageSchema,
  latentsSchema,
  type ModelConfig,
  type Process,
  processSchema,
  samplingSchema,
  superResolutionSchema,
  textSchema,
} from './model-config.js';
export { type OpenPipelineContext, openPipelineFiles } from './open.js';
export {
  checkOptions,
  type OpenOptions,
  openSchema,
  type Prediction,
  predictions,
  type WeightFormat,
  weightFormats,
} from './options.js';
export type { LoadPart } from './parts.js';
export type { GeneratedImage } from './pictures.js';
export { createPipeline, type Pipeline, type PipelineOptions } from './pipeline.js';
export {
  fromRecipe,
  parseRecipe,
  RECIPE_KEY,
  type Recipe,
  recipeOf,
  recipeOfImage,
  recipeOfUpscale,
  recipeSchema,
} from './recipe.js';
export {
  checkRequest,
  type Request,
  type RequestKey,
  requestSchema,
  type SettingMeta,
  type Settings,
} from './request.js';
export type { PipelineStep, Progress, RunHooks, SavedPipelineRun } from './run-pipeline.js';
export { checkFinite } from './run-stage.js';
export type {
  Batch,
  Codec,
  Conditions,
  EncodeContext,
  EncodedBatch,
  ImageJob,
  Inpainting,
  NetworkContext,
  Part,
  PipelineDefinition,
  Stage,
} from './stage.js';
export { stageLists } from './stage-settings.js';
export { type OpenedTextEncoder, openTextEncoder } from './text-encoder-folder.js';
export { clipTokenizersFor, openClipTokenizer } from './tokenizers.js';
export { tilesOf, type UpscaleOptions, upscale, upscaleRows } from './upscale.js';
