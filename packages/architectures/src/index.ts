export {
  architectureNamed,
  architectureOfClass,
  architectureOfKind,
  architectures,
  type ListedPreset,
  listPresets,
  presetNamed,
} from './architectures.js';
export { imageNet512, type PublishedSystem, type SystemCost, systemCost } from './imagenet-512.js';
export { type SystemRow, systemsFromJson, systemsPlot, systemsTable } from './systems-table.js';
