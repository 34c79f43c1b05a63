export type { Companion, KeepsTensors, SavedCheckpoint, Trained, TrainingState } from './checkpoint/checkpoint.js';
export { CheckpointFolder, type CheckpointFolderOptions } from './checkpoint/checkpoint-folder.js';
