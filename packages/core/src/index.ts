// A program that has core has the streams: `init` takes a seed, and forward passes take a RandomStream.
export {
  deriveSeed,
  isSeed,
  NumpyRandomState,
  type NumpyRandomStateSnapshot,
  type RandomStream,
  type Seed,
  seedPlus,
  seedValue,
  TorchGenerator,
  type TorchGeneratorState,
} from '@mezzotint/random';
export type { Adoption } from './adopt.js';
export {
  type Architecture,
  type ArchitectureOfKind,
  type ArchitectureRecord,
  type ClassifierArchitecture,
  type ClassifierNetwork,
  type ConditionSpec,
  type ConfigOf,
  classProblems,
  type DataShape,
  type DenoiserArchitecture,
  type DenoisingNetwork,
  forwardInputs,
  labelCondition,
  labelOrTextData,
  labelOrTextSignature,
  labelRows,
  type ModelSize,
  type NetworkInputs,
  type NetworkSignature,
  type OtherArchitecture,
  type ReferenceClass,
  readNetworkConfig,
  type SamplingRun,
  sizedPatch,
  type TimeInput,
} from './architecture.js';
export { parseJson } from './bounded-json.js';
export {
  choiceProblems,
  countProblems,
  imageProblems,
  isCount,
  labelProblems,
  positiveProblems,
  throwIf,
  timeProblems,
} from './checks.js';
export {
  type ConditionMemory,
  conditionMemory,
  type Recalling,
  recallAll,
  recalled,
  withConditionMemory,
} from './condition-memory.js';
export { describe, type ModelCost, type ModuleCost } from './cost/describe.js';
export type {
  Denoiser,
  NoiseLevel,
  NoiseLevels,
  VarianceDenoiser,
  VariancePrediction,
} from './denoiser.js';
export { InvalidArgumentError, InvalidFileError, MezzotintError, WeightsMismatchError } from './errors.js';
export { notFinite } from './finite.js';
export { type ForeignConfigKeys, type ForeignConfigOptions, foreignConfig } from './foreign-config.js';
export {
  type AttentionCall,
  type AttentionInputs,
  activeHooks,
  isSkipped,
  type NetworkHooks,
  withHooks,
} from './hooks.js';
export {
  asWeightSource,
  type BlockTensor,
  type BlockType,
  type HalfType,
  type HostTensor,
  isBlockTensor,
  type KeptType,
  type StateDict,
  type StoredTensor,
  sizeOf,
  type WeightSource,
} from './host-tensor.js';
export {
  constant,
  type Initializer,
  normal,
  ones,
  table,
  truncatedNormal,
  uniform,
  xavierUniform,
  zeros,
} from './initializers.js';
export { type LoadOptions, Module, type WeightDifferences } from './module.js';
export { NameTree } from './name-tree.js';
export { Param, type ParamOptions, type StagedParam } from './param.js';
export type { ParamLayout } from './param-layout.js';
export { type PositionTableOptions, positionTable } from './position-table.js';
export type { InputArgument, InputSpec, Preset } from './preset.js';
export { listed, named, printable, quoted, textOf } from './printable.js';
export { readingBudget } from './reading-budget.js';
export { renamed } from './renamed.js';
export { StateShapes } from './state-shapes.js';
export { blockBoundary, stepBoundary } from './step-boundary.js';
export { stopGradient, withoutGradient } from './stop-gradient.js';
