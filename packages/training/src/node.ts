export type { Companion, KeepsTensors, SavedCheckpoint, Trained, TrainingState } from './checkpoint/checkpoint.js';
export { CheckpointFolder, type CheckpointFolderOptions } from './checkpoint/checkpoint-folder.js';
export { type FolderLock, lockFolder } from './checkpoint/folder-lock.js';
