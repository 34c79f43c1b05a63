export { type Append, writeFileAtomically } from './node/atomic-file.js';
export { type FileSource, openFile } from './node/file-source.js';
export { findWeights, type PipelineFolder, readPipelineFolder } from './node/folder.js';
export { readLora } from './node/lora.js';
export { readNpy, readNpz } from './node/numpy.js';
export { readSafetensors, type WriteSafetensorsOptions, writeSafetensors } from './node/safetensors.js';
export { readTorch } from './node/torch.js';
export { type ReadWeightsOptions, readWeights } from './node/weights.js';
