export {
  type AutoencoderModelConfig,
  autoencoderConfigSchema,
  type ClassifierModelConfig,
  classifierConfigSchema,
  type DiffusionConfig,
  diffusionConfigSchema,
  imageSchema,
  type ModelConfig,
  type Process,
  processSchema,
  samplingSchema,
  superResolutionSchema,
} from '@mezzotint/pipelines';
export { type AveragedModelsOptions, averagedModels } from './averaged-models.js';
export { type CommandContext, exitBadInput, exitInterrupted, runCommand } from './command.js';
export { checkConfig, readConfig } from './config-file.js';
export { type ImageSource, imageSourceSchema, openImages, parseImageSource } from './image-source.js';
export {
  type AnyAutoencoder,
  autoencoderOf,
  type DiffusionModel,
  describeDiffusionModel,
  type ModelFolder,
  openAutoencoder,
  openClassifier,
  openDiffusionModel,
  saveModel,
} from './model-folder.js';
export { flagOf, oneOf, realNumber, seedNumber, wholeNumber } from './options.js';
export { prepareOutput } from './output-file.js';
export { type Progress, startProgress } from './progress.js';
export { readPrompts } from './prompts-file.js';
