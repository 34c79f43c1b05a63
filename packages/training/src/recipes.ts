import { InvalidArgumentError, type RandomStream, type TimeInput } from '@mezzotint/core';
import { logSnrOf, type ProcessConfig, processOf } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import {
  type CleanBatch,
  denoisingLoss,
  diffuse,
  type NetworkFunction,
  type Prediction,
  perExample,
  times,
} from './losses/denoising.js';
import { meanSquare, multiScale } from './losses/distances.js';
import { edmLoss } from './losses/edm.js';
import { hybridLoss } from './losses/hybrid.js';
import { byLogSnr, logSnrWeightings, minSnr } from './losses/weightings.js';
import {
  type FlowDensity,
  flowLevels,
  logNormalSigmas,
  logSnrLevels,
  noiseLevels,
  type SigmaDensity,
  stratified,
  type TimedNoiseLevel,
  uniformTimesteps,
} from './noise-levels/levels.js';

/** What a recipe must know of the model and the data. */
export interface RecipeData {
  /** Pixels a side of the (latent) images. */
  readonly imageSize: number;
  /** What the architecture's time is (`DenoiserArchitecture.time`). */
  readonly time: TimeInput;
  /** How often which level is trained, of a flow or of EDM's process; the recipe's when absent. */
  readonly density?: FlowDensity | SigmaDensity;
}

/** One number an example, `[N]`; draws its levels and its noise from `rng`. */
export type Objective = <C>(
  net: NetworkFunction<C>,
  batch: CleanBatch<C>,
  rng: RandomStream,
  /** Learned log variance of a noise level (EDM2); used where the recipe has it. */
  logVariance?: (noise: tf.Tensor1D) => tf.Tensor1D,
) => tf.Tensor1D;

/** Optimizer and its constants, as a configuration has them. */
export interface OptimizerSettings {
  readonly kind: 'adamw' | 'adam' | 'lamb';
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Null: no clipping. */
  readonly maxGradientNorm: number | null;
}

/** What a paper's training section says, for a run of any size: what is trained, how, and how the result is sampled. */
export interface Recipe {
  readonly name: string;
  /** One line: what it is, and its paper. */
  readonly about: string;
  /**
   * The forward process and the prediction, by which the model is sampled.
   *
   * @throws InvalidArgumentError when the architecture's time is none that the process can tell it
   */
  process(data: RecipeData): ProcessConfig;
  /** The loss of a process, which may be another than the recipe's own. */
  objective(data: RecipeData, process: ProcessConfig): Objective;
  readonly optimizer: OptimizerSettings;
  /** Peak of the rate and how it falls, for runs of thousands of updates. */
  readonly learningRate: { readonly kind: 'constant' | 'cosine' | 'inverse-sqrt'; readonly peak: number };
  /** Forced weight normalisation before each forward pass (EDM2). */
  readonly forcedWeightNormalization?: boolean;
  readonly sampling: { readonly solver: string; readonly steps: number; readonly guidance: number };
}

/** AdamW as most do. */
const adamW: OptimizerSettings = {
  ...{ kind: 'adamw', betas: [0.9, 0.99], epsilon: 1e-8, weightDecay: 0.01, maxGradientNorm: 1 },
};

/** A discrete process of 1000 steps, whose number is the network's time. */
const discrete =
  (betas: 'linear' | 'cosine', prediction: 'eps' | 'v', learnedVariance = false) =>
  ({ time }: RecipeData): ProcessConfig => {
    timed({ timestep: true }, time, 'a process of 1000 steps');
    return { kind: 'discrete', betas, steps: 1000, prediction, learnedVariance };
  };

/** A network's time at pure noise, for flows. */
const flowTimeScale = ({ time }: RecipeData) => timed({ unit: 1, timestep: 1000 }, time, 'a flow');

/** What a network is told in continuous time. */
const continuousTime = ({ time }: RecipeData) =>
  timed(
    {
      timestep: { time: 'fraction', timeScale: 1000 },
      unit: { time: 'fraction', timeScale: 1 },
      'log-snr': { time: 'log-snr', timeScale: 1 },
      gamma: { time: 'gamma', timeScale: 1 },
    } as const,
    time,
    'a process by log SNR',
  );

/** The entry of an architecture's time. Throws where there is none. */
function timed<T>(entries: Partial<Readonly<Record<TimeInput, T>>>, time: TimeInput, what: string): T {
  const found = entries[time];
  if (found !== undefined) return found;
  throw new InvalidArgumentError(
    'recipe',
    `${what} cannot tell a network its ${time}: take one of ${defaultRecipes[time].join(', ')}, or another architecture`,
  );
}

/** Recipes for an architecture by its time; the first is the default. */
const defaultRecipes: Readonly<Record<TimeInput, readonly [string, ...string[]]>> = {
  timestep: ['v-cosine', 'flow', 'edm'],
  unit: ['flow', 'rectified-flow'],
  sigma: ['edm', 'edm2'],
  gamma: ['rin'],
  'log-snr': ['simple-diffusion', 'vdm++'],
};

/** Recipes of papers of which the time does not tell. */
const paperRecipes: Readonly<Record<string, string>> = { EDM2: 'edm2', MMDiT: 'flow' };

/** The recipe of an architecture where none is said: that of its paper, as far as its time tells. */
export function defaultRecipe({ name, time }: { readonly name: string; readonly time: TimeInput }): string {
  return paperRecipes[name] ?? defaultRecipes[time][0];
}

const ddpm: Recipe = {
  name: 'ddpm',
  about: 'eps, linear betas, uniform steps: DDPM (Ho et al. 2020)',
  process: discrete('linear', 'eps'),
  objective: (_, process) => discreteObjective(process),
  optimizer: { kind: 'adam', betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradientNorm: 1 },
  learningRate: { kind: 'constant', peak: 2e-4 },
  sampling: { solver: 'dpmpp-2m', steps: 20, guidance: 1.5 },
};

const vCosine: Recipe = {
  name: 'v-cosine',
  about: 'v, cosine betas: Progressive Distillation (Salimans and Ho 2022), Improved DDPM (Nichol and Dhariwal 2021)',
  process: discrete('cosine', 'v'),
  objective: (_, process) => discreteObjective(process),
  optimizer: adamW,
  learningRate: { kind: 'cosine', peak: 1e-3 },
  sampling: { solver: 'dpmpp-2m', steps: 20, guidance: 1.5 },
};

const minSnrRecipe: Recipe = {
  ...vCosine,
  name: 'min-snr',
  about: 'v, cosine betas, weights min(SNR, 5): Hang et al. 2023',
  objective: (_, process) => discreteObjective(process, 'min-snr'),
};

const hybrid: Recipe = {
  name: 'improved-ddpm',
  about: 'eps and learned variance, cosine betas: Improved DDPM (Nichol and Dhariwal 2021)',
  process: discrete('cosine', 'eps', true),
  objective: (_, process) => discreteObjective(process),
  optimizer: { kind: 'adamw', betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradientNorm: 1 },
  learningRate: { kind: 'constant', peak: 1e-4 },
  sampling: { solver: 'dpmpp-2m', steps: 20, guidance: 1.5 },
};

const dit: Recipe = {
  ...hybrid,
  name: 'dit',
  about: 'eps and learned variance, linear betas, AdamW at a constant rate without decay: DiT (Peebles and Xie 2022)',
  process: discrete('linear', 'eps', true),
};

const flow: Recipe = {
  name: 'flow',
  about: 'rectified flow, levels by a logit-normal: Stable Diffusion 3 (Esser et al. 2024)',
  process: (data) => ({ kind: 'flow', shift: 1, timeScale: flowTimeScale(data) }),
  objective: ({ density = { kind: 'logit-normal' } }, process) => flowObjective(process, density),
  optimizer: { ...adamW, betas: [0.9, 0.95] },
  learningRate: { kind: 'cosine', peak: 1e-3 },
  sampling: { solver: 'euler', steps: 30, guidance: 1.5 },
};

const rectifiedFlow: Recipe = {
  ...flow,
  name: 'rectified-flow',
  about: 'rectified flow, uniform levels: Liu et al. 2022',
  objective: ({ density = { kind: 'uniform' } }, process) => flowObjective(process, density),
};

const edm: Recipe = {
  name: 'edm',
  about: 'preconditioned denoiser, log-normal levels: EDM (Karras et al. 2022)',
  process: ({ time }) => ({
    ...{ kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80 },
    // Others are told ln(sigma) / 4 and are preconditioned here.
    ...(timed({ sigma: true, timestep: false, unit: false }, time, "EDM's process") && { denoises: true }),
  }),
  objective: ({ density = { kind: 'log-normal', mean: -1.2, std: 1.2 } }, process) => edmObjective(process, density),
  optimizer: { kind: 'adam', betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradientNorm: null },
  learningRate: { kind: 'constant', peak: 1e-3 },
  sampling: { solver: 'heun', steps: 18, guidance: 1.5 },
};

const edm2: Recipe = {
  ...edm,
  name: 'edm2',
  about: 'EDM with learned uncertainty and forced weight normalisation: EDM2 (Karras et al. 2024)',
  objective: ({ density = { kind: 'log-normal', mean: -0.4, std: 1 } }, process) => edmObjective(process, density),
  optimizer: { kind: 'adam', betas: [0.9, 0.99], epsilon: 1e-8, weightDecay: 0, maxGradientNorm: null },
  learningRate: { kind: 'inverse-sqrt', peak: 1e-2 },
  forcedWeightNormalization: true,
  sampling: { solver: 'heun', steps: 32, guidance: 1.5 },
};

const simpleDiffusion: Recipe = {
  name: 'simple-diffusion',
  about:
    'v, cosine shifted to the noise of 32 pixels, multi-scale loss of eps: simple diffusion (Hoogeboom et al. 2023)',
  process: (data) => ({
    ...{ kind: 'log-snr', prediction: 'v', ...continuousTime(data) },
    curve: { kind: 'cosine', min: -15, max: 15, shift: 2 * Math.log(Math.min(32 / data.imageSize, 1)) },
  }),
  objective: ({ imageSize }, process) => {
    const sides = [32, 64, 128, 256, 512, 1024].filter((side) => side < imageSize && imageSize % side === 0);
    return logSnrObjective(process, { distance: multiScale([...sides, imageSize]), errorOf: 'eps' });
  },
  optimizer: { kind: 'adam', betas: [0.9, 0.99], epsilon: 1e-12, weightDecay: 0, maxGradientNorm: 1 },
  learningRate: { kind: 'constant', peak: 1e-4 },
  sampling: { solver: 'ddim', steps: 50, guidance: 1.5 },
};

const vdm: Recipe = {
  ...simpleDiffusion,
  name: 'vdm++',
  about: 'v, shifted cosine, sigmoid weighting of log SNR: VDM++ (Kingma and Gao 2023)',
  objective: (_, process) => logSnrObjective(process, { weight: byLogSnr(logSnrWeightings.sigmoid()), errorOf: 'eps' }),
};

const imagen: Recipe = {
  ...simpleDiffusion,
  name: 'imagen',
  about: 'v, cosine, uniform levels, told as log SNR where the network takes that: Imagen (Saharia et al. 2022)',
  process: (data) => ({
    ...{ kind: 'log-snr', prediction: 'v', ...continuousTime(data) },
    curve: { kind: 'cosine', min: -20, max: 20, shift: 0 },
  }),
  objective: (_, process) => logSnrObjective(process, {}),
  optimizer: { kind: 'adam', betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradientNorm: 1 },
};

const rin: Recipe = {
  name: 'rin',
  about: 'eps, sigmoid schedule, LAMB: Recurrent Interface Networks (Jabri et al. 2023)',
  process: (data) => ({
    ...{ kind: 'log-snr', prediction: 'eps', ...continuousTime(data) },
    curve: { kind: 'sigmoid', start: -3, end: 3, tau: 0.9 },
    samplingCurve: { kind: 'gamma-offset-cosine' },
  }),
  objective: (_, process) => logSnrObjective(process, {}),
  optimizer: { kind: 'lamb', betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.01, maxGradientNorm: null },
  learningRate: { kind: 'cosine', peak: 3e-3 },
  sampling: { solver: 'ddim', steps: 100, guidance: 1 },
};

/** Every recipe. One that is new is a record here, and nowhere a branch. */
export const recipes: readonly Recipe[] = [
  ...[ddpm, vCosine, minSnrRecipe, hybrid, dit, flow, rectifiedFlow, edm, edm2, simpleDiffusion, vdm, imagen, rin],
];

/**
 * The recipe of a name.
 *
 * @throws InvalidArgumentError when there is none, with those that there are
 */
export function recipeNamed(name: string, list: readonly Recipe[] = recipes): Recipe {
  const found = list.find((recipe) => recipe.name === name);
  if (found !== undefined) return found;
  const known = list.map((recipe) => recipe.name).join(', ');
  throw new InvalidArgumentError('recipe', `expected one of ${known}, got '${name}'`);
}

type Options = Omit<Parameters<typeof denoisingLoss>[4], 'levels'>;

function plain(prediction: Prediction, levelAt: (u: number) => TimedNoiseLevel, options: Options = {}): Objective {
  const levels = noiseLevels(levelAt, stratified);
  return (net, batch, rng) => denoisingLoss(prediction, net, batch, rng, { levels, ...options });
}

function flowObjective(process: ProcessConfig, density: FlowDensity | SigmaDensity): Objective {
  const { shift, timeScale } = ofKind(process, 'flow');
  if (density.kind === 'log-normal') {
    throw new InvalidArgumentError(
      'density',
      'expected uniform, logit-normal, mode or cosine for a flow, got log-normal',
    );
  }
  return plain('flow', flowLevels(density, { shift, timeScale }));
}

function discreteObjective(process: ProcessConfig, weighting?: 'min-snr'): Objective {
  const config = ofKind(process, 'discrete');
  const chain = processOf(config);
  if (config.learnedVariance) {
    if (config.prediction !== 'eps') {
      throw new InvalidArgumentError(
        'process',
        `a learned variance is trained with eps: expected prediction eps, or learnedVariance false, got prediction ${config.prediction}`,
      );
    }
    if (weighting !== undefined) {
      throw new InvalidArgumentError(
        'process',
        `the loss of a learned variance has weights of its own: expected learnedVariance false beside ${weighting}, or the recipe improved-ddpm or dit`,
      );
    }
    return (net, batch, rng) => hybridLoss(net, batch, rng, { process: chain, uniforms: stratified });
  }
  const weight = weighting === undefined ? {} : { weight: minSnr()[config.prediction] };
  return plain(config.prediction, uniformTimesteps(chain), weight);
}

function logSnrObjective(
  process: ProcessConfig,
  options: Omit<Parameters<typeof denoisingLoss>[4], 'levels' | 'weight'> & { weight?: ReturnType<typeof byLogSnr> },
): Objective {
  const { curve, prediction, time, timeScale } = ofKind(process, 'log-snr');
  const at = logSnrLevels(logSnrOf(curve), { timeScale, time: time === 'log-snr' ? 'logSnr' : 'uniform' });
  const levels = noiseLevels((u) => {
    const level = at(u);
    return time === 'gamma' ? { ...level, time: timeScale * level.alpha ** 2 } : level;
  }, stratified);
  return (net, batch, rng) => denoisingLoss(prediction, net, batch, rng, { levels, ...options });
}

function edmObjective(process: ProcessConfig, density: FlowDensity | SigmaDensity): Objective {
  const { sigmaData, denoises = false } = ofKind(process, 'edm');
  if (density.kind !== 'log-normal') {
    throw new InvalidArgumentError('density', `expected log-normal for EDM's process, got ${density.kind}`);
  }
  const levels = noiseLevels(logNormalSigmas(density), stratified);
  if (!denoises) {
    return (net, batch, rng, logVariance) =>
      edmLoss(net, batch, rng, { levels, sigmaData, ...(logVariance && { logVariance }) });
  }
  // The network is D itself: lambda ||D(x0 + sigma n; sigma) - x0||^2 with lambda = (sigma^2 + sigmaData^2) / (sigma sigmaData)^2.
  return (net, { x0, cond }, rng, logVariance) =>
    tf.tidy(() => {
      const at = levels(x0.shape[0], rng);
      const sigmas = at.map(({ sigma }) => sigma);
      const { noisy } = diffuse(x0, at, rng);
      const scale = perExample(sigmas.map((s) => Math.hypot(s, sigmaData) / (s * sigmaData)));
      const losses = meanSquare(tf.mul(tf.sub(net(noisy, times(sigmas), cond), x0), scale)); // [N]
      if (logVariance === undefined) return losses;
      const u = logVariance(times(sigmas.map((s) => Math.log(s) / 4)));
      return tf.add<tf.Tensor1D>(tf.div(losses, tf.exp(u)), u);
    });
}

/** A process of the kind that a recipe's loss is for. */
function ofKind<K extends ProcessConfig['kind']>(process: ProcessConfig, kind: K): Extract<ProcessConfig, { kind: K }> {
  if (process.kind === kind) return process as Extract<ProcessConfig, { kind: K }>;
  throw new InvalidArgumentError('process', `this recipe needs a process of kind '${kind}', got '${process.kind}'`);
}
