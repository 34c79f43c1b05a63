import type { RandomStream } from '@mezzotint/random';
import type * as tf from '@tensorflow/tfjs-core';
import { choiceProblems, countProblems } from './checks.js';
import { InvalidArgumentError } from './errors.js';
import type { HostTensor, WeightSource } from './host-tensor.js';
import type { Module } from './module.js';
import type { InputArgument, InputSpec, Preset } from './preset.js';
import { readingBudget } from './reading-budget.js';

/** The configuration of a model's class. */
export type ConfigOf<M extends Module> = M extends { readonly config: infer C } ? C : unknown;

/**
 * An architecture, registered once: apps, pipelines and tools read this record and have no branch of their own for it.
 * The record stands next to the architecture's code; `docs/add-an-architecture.md` shows one.
 */
export interface ArchitectureRecord<M extends Module = Module> {
  /** The name of its class, which is what `config.json` calls it. */
  readonly name: string;
  /** Names that older `config.json` files have for it. */
  readonly formerNames?: readonly string[];
  /** The package that it is from. */
  readonly package: string;
  /** One line: what it is, and its paper. */
  readonly about: string;
  /** Published configurations and our own, smallest first. */
  readonly presets: readonly Preset<M>[];
  /**
   * Builds the network without weights.
   *
   * @throws InvalidArgumentError with everything that is wrong with the configuration
   */
  build(config: ConfigOf<M>): M;
  /**
   * A configuration for data of one's own.
   *
   * @throws InvalidArgumentError when the architecture cannot take such data
   */
  sized?(size: ModelSize, data: DataShape): ConfigOf<M>;
  /** Brings a configuration that an older version wrote up to date; one of today comes back as it is. */
  upgrade?(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  /** Classes of other libraries whose configurations and weights it takes. */
  readonly references?: readonly ReferenceClass<M>[];
  /**
   * The configuration of weights that come without one, read off names and shapes.
   *
   * @throws InvalidArgumentError when a tensor that it must see is not there
   */
  fromShapes?(tensors: WeightSource['tensors']): ConfigOf<M>;
}

/** A network that a diffusion model samples with. */
export interface DenoiserArchitecture<M extends DenoisingNetwork = DenoisingNetwork> extends ArchitectureRecord<M> {
  readonly kind: 'denoiser';
  readonly time: TimeInput;
  /**
   * Paths of its attention layers, or of what mixes positions in the place of attention, `*` for any text: what a LoRA changes where
   * nothing else is said. `*attn*` when absent.
   */
  readonly attention?: readonly string[];
  /** What `forward` takes and gives with a configuration. */
  signature(config: ConfigOf<M>): NetworkSignature;
  /**
   * The network for one run of a sampler, where something goes on from step to step (RIN's latents); absent where each step
   * stands alone. `images` of the run: a call may hold the conditional images and then the unconditional ones; `from`: what
   * the run saved that is gone on with.
   */
  startRun?(
    model: M,
    options: { readonly images: number; readonly from?: readonly HostTensor[] | undefined },
  ): SamplingRun;
}

/** A network during one run of a sampler, where something goes on from step to step. */
export interface SamplingRun extends Pick<DenoisingNetwork, 'forward'> {
  /** What goes on, for `from` of another run. Ask between two steps. */
  save(): Promise<readonly HostTensor[]>;
  /** Frees what goes on. */
  dispose(): void;
}

/** A network that reads the class of a (noisy) image. */
export interface ClassifierArchitecture<M extends ClassifierNetwork = ClassifierNetwork> extends ArchitectureRecord<M> {
  readonly kind: 'classifier';
  readonly time: TimeInput;
  signature(config: ConfigOf<M>): Pick<NetworkSignature, 'imageSize' | 'sizeMultiple' | 'inChannels'> & {
    readonly classes: number;
  };
}

/** A network with another interface, which its class documents. */
export interface OtherArchitecture<M extends Module = Module> extends ArchitectureRecord<M> {
  readonly kind: 'autoencoder' | 'text-encoder' | 'feature-network';
}

export type Architecture = DenoiserArchitecture | ClassifierArchitecture | OtherArchitecture;

/** The records of a kind. */
export type ArchitectureOfKind<K extends Architecture['kind']> = K extends 'denoiser'
  ? DenoiserArchitecture
  : K extends 'classifier'
    ? ClassifierArchitecture
    : OtherArchitecture;

/** A network that every sampler and every denoising loss can call. */
export interface DenoisingNetwork extends Module {
  /**
   * @param x noisy images `[N, H, W, inChannels]`
   * @param time one number an image, `[N]`
   * @returns what it was trained to predict, `[N, H, W, outChannels]`, a new tensor
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs?: NetworkInputs): tf.Tensor4D;
}

/** A network that gives the class of each image. */
export interface ClassifierNetwork extends Module {
  /**
   * @param x images `[N, H, W, inChannels]` at the noise level of `time`
   * @param time one number an image, `[N]`
   * @returns logits `[N, classes]`, a new tensor
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs?: Pick<NetworkInputs, 'rng'>): tf.Tensor2D;
  /** What the last linear map sees, `[N, D]`, a new tensor. */
  features(x: tf.Tensor4D, time: tf.Tensor1D): tf.Tensor2D;
  /** That map: features `[N, D]` to logits `[N, classes]`, a new tensor. */
  logits(features: tf.Tensor2D): tf.Tensor2D;
}

/** The common names of what networks are conditioned on. A network takes those of its signature. */
export interface NetworkInputs {
  /** Class of each image, int32 `[N]` in [0, classes); `classes` is "no label" where there is a null label. */
  readonly labels?: tf.Tensor1D;
  /** States of a text encoder `[N, T, D]`. */
  readonly context?: tf.Tensor3D;
  /** 1 for tokens of `context` that count and 0 for padding, int32 `[N, T]`. */
  readonly contextMask?: tf.Tensor2D;
  /** One vector of a text encoder for each image, `[N, D]`. */
  readonly pooled?: tf.Tensor2D;
  /** A picture of fewer pixels to enlarge, `[N, h, w, C]`. */
  readonly lowRes?: tf.Tensor4D;
  /** Noise level of `lowRes`, `[N]`, on the scale of `time`. */
  readonly lowResTime?: tf.Tensor1D;
  /** SDXL's sizes, crop and score, `[N, n]`. */
  readonly timeIds?: tf.Tensor2D;
  /** Embedded guidance of a distilled model: the scale of each image, `[N]`. */
  readonly guidance?: tf.Tensor1D;
  /** Source of dropout; absent, there is none. */
  readonly rng?: RandomStream;
}

/** What a network's `forward` takes and gives. */
export interface NetworkSignature {
  /** Pixels of the (latent) image a side that the configuration is for; null where it does not say. */
  readonly imageSize: number | null;
  /** Heights and widths must be multiples of it; null: only `imageSize` itself is taken. */
  readonly sizeMultiple: number | null;
  /** The largest height and width; no limit when absent. */
  readonly maxImageSize?: number;
  /** Channels of `x`. */
  readonly inChannels: number;
  /** Twice the image's when the variance is learned (its interpolation stands behind the prediction). */
  readonly outChannels: number;
  /** Real classes; null for a model without labels. */
  readonly classes: number | null;
  /** Whether the label `classes` means "no label". False where there are no labels. */
  readonly nullLabel: boolean;
  /** The inputs beside `x` and `time` that must be given, by name. */
  readonly conditions: Readonly<Record<string, ConditionSpec>>;
}

/** One tensor that a network is conditioned on. */
export interface ConditionSpec {
  /** Its shape behind the batch axis, at the configuration's own size. */
  readonly shape: readonly number[];
  /** `float32` when absent. */
  readonly dtype?: 'float32' | 'int32';
  /**
   * What stands for its absence, in training's dropout and in classifier-free guidance: a number for every element, or the
   * encoding of the empty prompt. Absent where a network has nothing for it.
   */
  readonly none?: number | 'empty-prompt';
}

/**
 * What the number of `time` is, where neither file nor recipe says otherwise. `timestep`: the index in the forward process,
 * 0 to 999, and 1000 t for a flow. `unit`: t of a flow, 0 to 1 (FLUX.1). `sigma`: the noise level itself (EDM, which
 * preconditions inside). `gamma`: alpha^2 (RIN). `log-snr`: ln(alpha^2 / sigma^2) (simple diffusion).
 */
export type TimeInput = 'timestep' | 'unit' | 'sigma' | 'gamma' | 'log-snr';

/** Sizes of networks for data of one's own: for a trial on a CPU, for a GPU, and for a run of days. */
export type ModelSize = 'small' | 'medium' | 'large';

/** Images (or latent images) that a network is built for. */
export interface DataShape {
  /** Pixels a side. */
  readonly imageSize: number;
  readonly channels: number;
  /** Real classes; null for images without labels. A network with classes gets a null label. */
  readonly classes: number | null;
  /** The network predicts the variance too, with as many channels again; false when absent. */
  readonly learnedVariance?: boolean;
  /** Width of a text encoder's states; absent for a model without text. */
  readonly contextWidth?: number;
  /** Tokens of a text; 77 when absent. */
  readonly contextTokens?: number;
  /** Width of the pooled text, for networks that take one; `contextWidth` when absent. */
  readonly pooledWidth?: number;
  /** Tokens of the vocabulary, for a network that reads texts itself. */
  readonly vocabSize?: number;
  /** The network enlarges a low-resolution picture, which it is given; false when absent. */
  readonly lowRes?: boolean;
}

/** A class of another library that an architecture stands for. */
export interface ReferenceClass<M extends Module = Module> {
  /** For example `diffusers` or `guided-diffusion`. */
  readonly library: string;
  /** The name of its class, as in diffusers' `_class_name`. */
  readonly className: string;
  /**
   * Our configuration from that class's arguments.
   *
   * @throws InvalidArgumentError naming every unknown or unsupported key
   */
  config(json: unknown): ConfigOf<M>;
  /** That class's names of `forward`'s arguments, by ours (`x`, `time`, and those of the signature). */
  readonly inputs?: Readonly<Record<string, string>>;
  /** That class's name of its answer. */
  readonly output?: string;
}

/** Most patches a side of a sized network; attention's cost grows with their fourth power. */
const mostPatches = 16;

/**
 * The smallest patch, a side, that cuts a grid into at most `most` x `most`: for `sized` of transformers over patches.
 *
 * @param who the architecture
 * @param side of the grid
 * @param options most, 16 when absent; pixels: of the image along one place of the grid, 1 when absent
 * @throws InvalidArgumentError where only patches that leave less than a quarter as many divide it (a prime side leaves one), with
 *   sides near it that do better
 */
export function sizedPatch(who: string, side: number, { most = mostPatches, pixels = 1 } = {}): number {
  const patchOf = (n: number) => {
    let patch = 1;
    while (patch < n && (n % patch !== 0 || n / patch > most)) patch++;
    return patch;
  };
  const patch = patchOf(side);
  const count = side / patch;
  if (4 * count >= Math.min(side, most)) return patch;
  const good = (n: number) => 2 * (n / patchOf(n)) >= most;
  let [below, above] = [side - 1, side + 1];
  while (!good(below)) below--;
  while (!good(above)) above++;
  throw new InvalidArgumentError(
    who,
    `of ${side * pixels} pixels a side, patches of ${patch * pixels} leave ${count} x ${count}: ` +
      `take an image size such as ${below * pixels} or ${above * pixels}, or a configuration with a patchSize of your own`,
  );
}

/** Rows of a label table: one a class, and one for the null label where there is one; null for a model without labels. */
export function labelRows({ classes, nullLabel }: Pick<NetworkSignature, 'classes' | 'nullLabel'>): number | null {
  return classes === null ? null : classes + (nullLabel ? 1 : 0);
}

/** What is wrong with the settings `classes` and `nullLabel` of a configuration. */
export function classProblems({
  classes,
  nullLabel,
}: {
  readonly classes: unknown;
  readonly nullLabel: unknown;
}): string[] {
  const problems = [
    ...(classes === null ? [] : countProblems({ classes })),
    ...choiceProblems('nullLabel', nullLabel, [true, false]),
  ];
  if (typeof classes === 'number' && classes > readingBudget.classes) {
    problems.push(`classes: expected at most ${readingBudget.classes}, got ${classes}`);
  }
  if (classes === null && nullLabel === true) problems.push('nullLabel: expected false, as there are no classes');
  return problems;
}

/** The condition that every class-conditional network has. Empty for a model without labels. */
export function labelCondition({
  classes,
  nullLabel,
}: Pick<NetworkSignature, 'classes' | 'nullLabel'>): Readonly<Record<string, ConditionSpec>> {
  if (classes === null) return {};
  return { labels: { shape: [], dtype: 'int32', ...(nullLabel && { none: classes }) } };
}

/** What the configurations of networks that have labels or text say of their data. */
export interface LabelOrTextConfig {
  readonly imageSize: number;
  readonly patchSize: number;
  readonly inChannels: number;
  readonly classes: number | null;
  readonly nullLabel: boolean;
  /** Tokens of the text and their width; null for a model without text. */
  readonly context: { readonly tokens: number; readonly width: number } | null;
}

/** The signature of a network of one image size that has labels or text, and gives as many channels as it takes. */
export function labelOrTextSignature({
  imageSize,
  inChannels,
  classes,
  nullLabel,
  context,
}: Omit<LabelOrTextConfig, 'patchSize'>): NetworkSignature {
  const text = context && { context: { shape: [context.tokens, context.width], none: 'empty-prompt' as const } };
  return {
    ...{ imageSize, sizeMultiple: null, inChannels, outChannels: inChannels, classes, nullLabel },
    conditions: { ...labelCondition({ classes, nullLabel }), ...text },
  };
}

/** Tokens of a text where nothing says: CLIP's. */
const textTokens = 77;

/**
 * What `sized` says of the data for such a network: patches that leave few enough tokens, and text where there is some, as text says
 * more than labels.
 *
 * @throws InvalidArgumentError in the name of `who` where a learned variance is asked for, or no patches fit
 */
export function labelOrTextData(
  who: string,
  { imageSize, channels, classes: labels, contextWidth, contextTokens = textTokens, learnedVariance }: DataShape,
): LabelOrTextConfig {
  if (learnedVariance) throw new InvalidArgumentError(who, 'has no channels for a learned variance');
  const classes = contextWidth === undefined ? labels : null;
  return {
    ...{ imageSize, patchSize: sizedPatch(who, imageSize), inChannels: channels, classes, nullLabel: classes !== null },
    context: contextWidth === undefined ? null : { tokens: contextTokens, width: contextWidth },
  };
}

/** The arguments of `forward` for a batch of images of so many pixels a side, as `describe` and presets have them. */
export function forwardInputs(
  { inChannels, conditions }: Pick<NetworkSignature, 'inChannels' | 'conditions'>,
  imageSize: number,
  batch = 1,
): InputArgument[] {
  const specs = Object.entries(conditions).map(([name, { shape, dtype }]): [string, InputSpec] => [
    name,
    { shape: [batch, ...shape], ...(dtype && { dtype }) },
  ]);
  return [
    { shape: [batch, imageSize, imageSize, inChannels] },
    { shape: [batch] },
    ...(specs.length > 0 ? [Object.fromEntries(specs)] : []),
  ];
}

/**
 * A configuration out of a file for an architecture: a JSON object with exactly the settings that its presets have. What the
 * settings may be is checked by `build`.
 *
 * @throws InvalidArgumentError naming every unknown and every missing setting
 */
export function readNetworkConfig<M extends Module>(
  { name, presets, upgrade }: Pick<ArchitectureRecord<M>, 'name' | 'presets' | 'upgrade'>,
  json: unknown,
): ConfigOf<M> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidArgumentError(name, `expected a configuration as a JSON object, got ${JSON.stringify(json)}`);
  }
  const given = upgrade?.(json as Readonly<Record<string, unknown>>) ?? json;
  const keysOf = presets.map(({ config }) => Object.keys(config as object));
  const known = new Set(keysOf.flat());
  const required = [...known].filter((key) => keysOf.every((keys) => keys.includes(key)));
  const problems = [
    ...Object.keys(given)
      .filter((key) => !known.has(key))
      .map((key) => `${key}: unknown setting; it has ${[...known].join(', ')}`),
    ...required.filter((key) => !Object.hasOwn(given, key)).map((key) => `${key}: missing`),
    ...unprintable(given, ''),
  ];
  if (problems.length > 0) throw new InvalidArgumentError(name, problems);
  return given as ConfigOf<M>;
}

/** Objects that JavaScript cannot turn into text, as their own `toString` or `valueOf` is data: a check that quotes one would fail. */
function unprintable(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const place = path === '' ? key : `${path}.${key}`;
    return key === 'toString' || key === 'valueOf' ? [`${place}: unknown setting`] : unprintable(inner, place);
  });
}
