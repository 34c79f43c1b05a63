export { type ClassifierInput, classifierFeatures } from './classifier.js';
export { clipFeatures } from './clip.js';
export { DinoV2, type DinoV2Config, dinoV2Config, dinoV2Features, dinoV2FromShapes, dinoV2Weights } from './dinov2.js';
export {
  type FeatureFiles,
  type FeatureNetwork,
  type FeatureNetworkRecord,
  type FeatureOutput,
  type FeatureRows,
  type ImageBytes,
  type PictureBytes,
  type PublishedWeights,
  readFeatures,
  readPictures,
} from './feature-network.js';
export { type InceptionConfig, type InceptionFeatureOptions, InceptionV3, inceptionFeatures } from './inception.js';
export { Lpips, lpipsWeights } from './lpips.js';
export { architectures, featureNetworkNamed, featureNetworks, presets, whereToGet } from './registry.js';
export {
  pillowBicubic,
  type ResizeMethod,
  resizeImages,
  tensorflow1Bilinear,
  torchBicubic,
  torchBilinear,
} from './resize.js';
