export { renamed } from '@mezzotint/core';
export { type ByteSource, blobSource, bytesSource, type SyncByteSource } from './bytes/byte-source.js';
export { type Component, type ComponentOptions, openComponent } from './checkpoint/component.js';
export { explain } from './checkpoint/explain.js';
export { type LayoutKind, type ModelKind, type Recognised, recognise } from './checkpoint/recognise.js';
export {
  type ComponentName,
  type OpenSingleFileOptions,
  openSingleFile,
  type SingleFile,
} from './checkpoint/single-file.js';
export { withoutPrefix, withShapesOf } from './checkpoint/view.js';
export { formatOf, type WeightFormat } from './format.js';
export type { GgufList } from './gguf/header.js';
export { type GgufFile, openGguf } from './gguf/open.js';
export { type ClipKeyMapOptions, clipKeyMap, clipTextPrefixKeyMap, clipTransformersKeyMap } from './key-maps/clip.js';
export { type DitKeyMapOptions, ditKeyMap } from './key-maps/dit.js';
export { fluxKeyMap } from './key-maps/flux.js';
export type { KeyMap, KeyOp, KeyPair, LeftOut, Made, Side } from './key-maps/key-map.js';
export { rinKeyMap } from './key-maps/rin.js';
export { sd3KeyMap } from './key-maps/sd3.js';
export { t5GgufKeyMap } from './key-maps/t5-gguf.js';
export { type Dropped, type FitOptions, type Move, type Translation, translate } from './key-maps/translate.js';
export { unetKeyMap } from './key-maps/unet.js';
export { oldVaeKeyMap, vaeKeyMap } from './key-maps/vae.js';
export { type LoraApplied, type MergeLoraOptions, mergeLora } from './lora/merge.js';
export { type LoraSource, withAdapterNotes } from './lora/notes.js';
export { type LoraChange, type LoraLayer, type LoraModelName, parseLora } from './lora/parse.js';
export { findLoraTargets, type LoraModels, type LoraTarget } from './lora/targets.js';
export type { DType, FloatDType } from './numbers/dtypes.js';
export { encodeNpy, encodeNpz, type NumericArray } from './numpy/encode.js';
export { type Float64Tensor, type NumpyFile, openNpy, openNpz } from './numpy/open.js';
export { openShards, openWeights, weightsOfFolder } from './open.js';
export { type Dequantized, dequantized } from './quantized/open.js';
export { openSafetensors, openSafetensorsSync, type SyncWeightFile } from './safetensors/open.js';
export { joinShards, parseShardIndex, type ShardIndex } from './sharded.js';
export { type Json, type ModuleRecord, modulesAsMetadata, modulesOf } from './torch/module-records.js';
export { type OpenTorchOptions, openTorch, type TorchFile } from './torch/open.js';
export type { WeightFile } from './weight-file.js';
