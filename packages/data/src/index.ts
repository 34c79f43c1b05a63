export { type WriteOptions, writeFileAtomically } from '@mezzotint/core/node';
export { AUGMENT_LABELS, type Augmented, edmAugment } from './augment.js';
export type { BatchShare } from './batch-share.js';
export {
  type BatchesSource,
  type BatchesState,
  type BatchOptions,
  batches,
  epochOrder,
  type ImageBatch,
  type ImageBatches,
} from './batches.js';
export type { Bitmap } from './bitmap.js';
export { type CheckOptions, withoutDamaged } from './damaged.js';
export { type Dataset, type DatasetOptions, type Example, openDataset, splitDataset } from './dataset.js';
export { type DecodeOptions, decodeImage } from './decode-image.js';
export {
  bucketSizes,
  type ExampleBatch,
  type ExampleStream,
  type ExampleStreamOptions,
  type ExampleStreamState,
  exampleStream,
  readExamples,
} from './example-stream.js';
export { type FolderImages, type FolderOptions, imageFolder } from './image-folder.js';
export { fingerprint, type ImageSet, splitImages, stackPictures, subset } from './image-set.js';
export {
  type EncodedBatch,
  type EncodeOptions,
  encodeLatents,
  type LatentBatch,
  type LatentStreamOptions,
  type LatentsIndex,
  latentStream,
  readLatentsIndex,
} from './latents.js';
export { pictureFiles } from './picture-files.js';
export { toBytes, toFloat } from './pixels.js';
export { encodePng, type PngOptions, writePng } from './png.js';
export type { PngText } from './png-text.js';
export { readImage, readPngText } from './read-image.js';
export type { ResizeFilter } from './resample-weights.js';
export { type FloatImage, type ImageSize, type ImageWindow, resize, resizeFloat, resizeWindow } from './resize.js';
export { drawShapes, type ShapeSet } from './shapes.js';
export { readTar, readTarMember, type TarMember } from './tar.js';
