export { type ByteSource, blobSource, bytesSource, type SyncByteSource } from './bytes/byte-source.js';
export type { DType, FloatDType } from './numbers/dtypes.js';
export { type Float64Tensor, type NumpyFile, openNpy, openNpz } from './numpy/open.js';
export { openSafetensors, openSafetensorsSync, type SyncWeightFile } from './safetensors/open.js';
export { type OpenTorchOptions, openTorch, type TorchFile } from './torch/open.js';
export type { WeightFile } from './weight-file.js';
