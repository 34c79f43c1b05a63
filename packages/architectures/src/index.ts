export {
  architectureNamed,
  architectureOfClass,
  architectureOfKind,
  architectures,
  type ListedPreset,
  listPresets,
  presetNamed,
} from './architectures.js';
