export { KERNELS, type KernelName } from './kernels.js';
export { Conv2d, type Conv2dModuleOptions } from './modules/conv2d.js';
export { Embedding, type EmbeddingOptions } from './modules/embedding.js';
export {
  FourierEmbedding,
  type FourierEmbeddingOptions,
  GaussianFourierProjection,
} from './modules/fourier-embedding.js';
export { Linear, type LinearOptions } from './modules/linear.js';
export { forceWeightNormalization, MPConv, MPFourier, takesNormsOfWeights } from './modules/magnitude-preserving.js';
export { GroupNorm, LayerNorm, type NormOptions, RmsNorm } from './modules/norms.js';
export { PatchEmbed, type PatchEmbedOptions } from './modules/patch-embed.js';
export {
  type MakeLinear,
  Mlp,
  type MlpOptions,
  SelfAttention,
  type SelfAttentionOptions,
} from './modules/transformer.js';
export {
  type ActivationKind,
  activate,
  activationKinds,
  activationNames,
  activationOf,
  type GeluKind,
  gelu,
  silu,
} from './ops/activations.js';
export { type AttentionOptions, attention } from './ops/attention.js';
export { causalConv1d } from './ops/causal-conv1d.js';
export { type Conv2dOptions, conv2d, type Padding } from './ops/conv2d.js';
export { dropout } from './ops/dropout.js';
export { embeddingLookup, oneHotOrNone } from './ops/embedding-lookup.js';
export { type GroupNormOptions, groupNorm } from './ops/group-norm.js';
export { joinHeads, splitHeads } from './ops/heads.js';
export { type LayerNormOptions, layerNorm, modulate } from './ops/layer-norm.js';
export { linear } from './ops/linear.js';
export {
  mpCat,
  mpConv,
  mpSilu,
  mpSum,
  normalizeWeight,
  pixelNorm,
  unitVarianceWeight,
} from './ops/magnitude-preserving.js';
export { patchify, unpatchify } from './ops/patchify.js';
export { resizeBilinear } from './ops/resize-bilinear.js';
export { type RmsNormOptions, rmsNorm } from './ops/rms-norm.js';
export { type AxialRotaryOptions, axialRotary, type Rotary, rotate } from './ops/rotary.js';
export {
  type SelectiveScanOptions,
  type SelectiveScanOutput,
  selectiveScan,
} from './ops/selective-scan.js';
export { type SsdOptions, type SsdOutput, ssd } from './ops/ssd.js';
export { averagePool2x, upsample2x } from './ops/upsample.js';
export { inverseWaveletTransform, waveletTransform } from './ops/wavelet.js';
export { type TimestepEmbeddingOptions, timestepEmbedding } from './timestep-embedding.js';
