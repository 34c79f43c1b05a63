export { type AdversarialOptions, type AdversarialTerms, adversarialLoss } from './adversarial/adversarial-loss.js';
export { generatorLoss, hingeDiscriminatorLoss, vanillaDiscriminatorLoss } from './adversarial/losses.js';
export { PatchDiscriminator, type PatchDiscriminatorConfig } from './adversarial/patch-discriminator.js';
export {
  architectures,
  autoencoder,
  autoencoderKL,
  autoencoderTiny,
  presets,
  vqModel,
} from './architectures.js';
export { Autoencoder } from './autoencoder.js';
export { AutoencoderKL, type AutoencoderKLConfig, autoencoderKLFromDiffusers } from './autoencoder-kl.js';
export { autoencoderKLFromShapes } from './autoencoder-kl-from-shapes.js';
export type { CoderConfig } from './coder/config.js';
export { type Gaussian, klToNormal, sampleGaussian } from './gaussian.js';
export { type LatentScale, scaleLatents, unscaleLatents } from './latent-scale.js';
export { klLoss } from './losses/kl.js';
export { l1Loss, l2Loss } from './losses/reconstruction.js';
export { vaeFlux, vaeSd, vaeSd3, vaeSdxl } from './presets/kl.js';
export { digitsAutoencoder, digitsVae, digitsVq, emojiVae } from './presets/small.js';
export { taesd, taesd3 } from './presets/tiny.js';
export { decodeTiled, encodeTiled, type LatentDecoder, type TilingOptions } from './tiling.js';
export {
  AutoencoderTiny,
  type AutoencoderTinyConfig,
  autoencoderTinyFromDiffusers,
} from './tiny/autoencoder-tiny.js';
export { type CodebookUsage, codebookUsage } from './vq/codebook-usage.js';
export { EmaCodebook, type EmaCodebookOptions, type EmaCodebookState } from './vq/ema-codebook.js';
export { straightThrough, VectorQuantizer } from './vq/vector-quantizer.js';
export { codebookLoss, commitmentLoss, type VqLossOptions, vqLoss } from './vq/vq-loss.js';
export { VQModel, type VQModelConfig, vqModelFromDiffusers } from './vq/vq-model.js';
