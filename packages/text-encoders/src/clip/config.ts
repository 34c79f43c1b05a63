import { type ActivationKind, activationKinds } from '@mezzotint/layers';
import { countProblems, layerProblems, positiveProblems, throwIf } from '../checks.js';

/** What CLIP's two towers have in common. A plain JSON value. */
export interface ClipTowerConfig {
  /** Width D of the tokens. */
  readonly width: number;
  /** Width inside the two-layer networks. */
  readonly mlpWidth: number;
  readonly layers: number;
  readonly heads: number;
  /** `quick` in OpenAI's models, `erf` in OpenCLIP's. */
  readonly activation: ActivationKind;
  /** Epsilon of every LayerNorm. */
  readonly epsilon: number;
}

/** Configuration of CLIP's text tower. A plain JSON value. */
export interface ClipTextConfig extends ClipTowerConfig {
  readonly vocabSize: number;
  /** Longest text in tokens, start and end included. */
  readonly positions: number;
  /**
   * Which token stands for the text: the first one with this id, or the first one with the largest id of its text.
   * The latter is what transformers does for configurations with `eos_token_id` 2, which all old ones have.
   */
  readonly pooledToken: number | 'largest';
  /** Width of the space shared with images; null when the checkpoint has no projection. */
  readonly projection: number | null;
}

/** Configuration of CLIP's image tower. A plain JSON value. */
export interface ClipVisionConfig extends ClipTowerConfig {
  /** Pixels a side. */
  readonly imageSize: number;
  /** Pixels a side of a patch. */
  readonly patchSize: number;
  readonly channels: number;
  /** Width of the space shared with texts; null when the checkpoint has no projection. */
  readonly projection: number | null;
}

/** Configuration of {@link ClipModel}. A plain JSON value. */
export interface ClipConfig {
  readonly text: ClipTextConfig;
  readonly vision: ClipVisionConfig;
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateClipTextConfig(who: string, config: ClipTextConfig): void {
  throwIf(who, textProblems(config));
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateClipVisionConfig(who: string, config: ClipVisionConfig): void {
  throwIf(who, visionProblems(config));
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateClipConfig(who: string, { text, vision }: ClipConfig): void {
  const problems = [
    ...textProblems(text).map((problem) => `text.${problem}`),
    ...visionProblems(vision).map((problem) => `vision.${problem}`),
  ];
  if (text.projection === null || text.projection !== vision.projection) {
    problems.push(
      `text.projection and vision.projection: expected the same width, got ${text.projection} and ${vision.projection}`,
    );
  }
  throwIf(who, problems);
}

function textProblems(config: ClipTextConfig): string[] {
  const { vocabSize, positions, pooledToken, projection } = config;
  const problems = [
    ...countProblems({ vocabSize, positions, ...(projection !== null && { projection }) }),
    ...towerProblems(config),
  ];
  const isId = Number.isSafeInteger(pooledToken) && (pooledToken as number) >= 0;
  if (pooledToken !== 'largest' && !isId) {
    problems.push(`pooledToken: expected an id or 'largest', got ${JSON.stringify(pooledToken)}`);
  }
  return problems;
}

function visionProblems(config: ClipVisionConfig): string[] {
  const { imageSize, patchSize, channels, projection } = config;
  const problems = [
    ...countProblems({ imageSize, patchSize, channels, ...(projection !== null && { projection }) }),
    ...towerProblems(config),
  ];
  if (problems.length === 0 && imageSize % patchSize !== 0) {
    problems.push(`patchSize: patches of ${patchSize} pixels do not divide an image of ${imageSize}`);
  }
  return problems;
}

function towerProblems({ width, mlpWidth, layers, heads, activation, epsilon }: ClipTowerConfig): string[] {
  const problems = [
    ...countProblems({ width, mlpWidth, layers, heads }),
    ...layerProblems(layers),
    ...positiveProblems('epsilon', epsilon),
  ];
  if (!activationKinds.includes(activation)) {
    problems.push(`activation: expected one of ${activationKinds.join(', ')}, got ${JSON.stringify(activation)}`);
  }
  if (problems.length === 0 && width % heads !== 0) {
    problems.push(`heads: ${heads} heads do not divide a width of ${width}`);
  }
  return problems;
}
