export type { AuxiliaryState, SavedCheckpoint, StatefulPart, Trained, TrainingState } from './checkpoint/checkpoint.js';
export { CheckpointFolder, type CheckpointFolderOptions } from './checkpoint/checkpoint-folder.js';
export { type FolderLock, lockFolder } from './checkpoint/folder-lock.js';
export {
  listSnapshots,
  parseSnapshotFileName,
  type ReconstructionTarget,
  type ReconstructOptions,
  reconstructAverages,
  type SnapshotProfile,
  snapshotFileName,
  writeSnapshot,
} from './checkpoint/snapshots.js';
