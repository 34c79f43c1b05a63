import type { HostTensor, Module, NoiseLevel, WeightSource } from '@mezzotint/core';
import type { AfterLimit, Guide, Network, NoiseSource, Sampler } from '@mezzotint/schedulers';
import type { Dropped, LoraModelName } from '@mezzotint/weights';
import type * as tf from '@tensorflow/tfjs-core';
import type { Request, RequestKey, Settings } from './request.js';
import type { StageDefaults } from './stage-settings.js';

/** What a network is conditioned on: tensors by name, `[N, ...]` each. */
export type Conditions = Readonly<Record<string, tf.Tensor>>;

/** The conditions of a batch. */
export interface EncodedBatch<C extends Conditions = Conditions> {
  readonly positive: C;
  /** Those of the negative prompt or the null label; null where there is nothing to guide away from. */
  readonly negative: C | null;
  /** Those of no prompt at all, where a guidance needs them beside the negative prompt's. */
  readonly empty?: C | null;
}

/** One picture of a request. */
export interface ImageJob {
  /** Its place among all pictures of the request. */
  readonly index: number;
  readonly seed: number | string;
  readonly prompt: string;
  /** null where nothing was said. */
  readonly negative: string | null;
  readonly secondPrompt: string | null;
  readonly secondNegative: string | null;
  readonly thirdPrompt: string | null;
  readonly thirdNegative: string | null;
  /** Class index; null for models without classes. */
  readonly label: number | null;
}

/** Pictures that are computed at once. */
export interface Batch {
  readonly settings: Settings;
  readonly images: readonly ImageJob[];
}

/** What encoding may use. */
export interface EncodeContext {
  /** The batch's noise, for conditions that are noised (upscalers). Drawn from before the run's own. */
  readonly noise: NoiseSource;
  /** Pictures of the stage before, `[N, H, W, C]` in [-1, 1]; null in the first stage. */
  readonly previous: tf.Tensor4D | null;
  /** The noise that is left in them, where the stage before was stopped by `stopsPrevious`; null where there is none. */
  readonly previousLevel: NoiseLevel | null;
  /** A line for the user. */
  note(line: string): void;
}

/** What a network may use during a run. */
export interface NetworkContext {
  readonly batch: Batch;
  /** Mask and masked latent image, for a network that `seesMask`; null where there is no mask. */
  readonly inpainting: Inpainting | null;
  /** What the network of a run that was saved gave by `save`; absent at the beginning. */
  readonly from?: readonly HostTensor[] | undefined;
}

/** The raw network for one run. What goes on in it from step to step can be saved between two, and is freed when it ends. */
export type RunNetwork<C extends Conditions> = Network<C> & {
  save?(): Promise<readonly HostTensor[]>;
  dispose?(): void;
};

/** What guidance may use. */
export interface GuideContext<C extends Conditions = Conditions> {
  readonly settings: Settings;
  /** Conditions of the negative prompt; null where there are none. */
  readonly negative: C | null;
  /** Classifier-free guidance, or what the request has in its place; undefined where it asks for none. */
  readonly free: Guide<C> | undefined;
  readonly sampler: Sampler;
  readonly schedule: ReturnType<Sampler['schedule']>;
}

/** What a mask asks of a network and of the estimates. */
export interface Inpainting {
  /** 1 where the picture is made anew, `[N, h, w, 1]`. */
  readonly mask: tf.Tensor4D;
  /** The latent image of the picture with the masked part grey, `[N, h, w, C]`. */
  readonly masked: tf.Tensor4D;
}

/** An autoencoder as pipelines use it. */
export interface Codec {
  /** Names of its parts. */
  readonly parts: readonly string[];
  /** Pixels for each latent pixel, along a side. */
  readonly downscale: number;
  /** Latent channels. */
  readonly channels: number;
  /** Channels C of the pictures; 3 when absent. */
  readonly pictureChannels?: 1 | 3;
  /** Latent images of pictures `[N, H, W, C]` in [-1, 1], scaled as the network takes them, `[N, h, w, C]`. Noise: one draw. */
  encode(pictures: tf.Tensor4D, noise: NoiseSource): tf.Tensor4D;
  /** Pictures `[N, H, W, C]` about [-1, 1] of latent images `[N, h, w, C]`. */
  decode(latents: tf.Tensor4D): tf.Tensor4D;
  /** True where latent images are scaled as diffusion models of diffusers take them, and so as TAESD reads them. */
  readonly tinyReads?: boolean;
  /** A cheap picture of latent images, `[N, h, w, 3]` about [-1, 1]; absent where none is known. */
  preview?(latents: tf.Tensor4D): tf.Tensor4D;
}

/** One model of a pipeline: what it is conditioned on, its network, and how it is sampled. Most pipelines have one. */
// biome-ignore lint/suspicious/noExplicitAny: a list of stages holds conditions of several kinds
export interface Stage<C extends Conditions = any> {
  /** What progress and errors call it, for example `base`. */
  readonly name: string;
  readonly sampler: Sampler;
  /** null for a model of pixels. */
  readonly codec: Codec | null;
  /** Names of the parts that encoding and sampling need; they are loaded before, and freed after where memory is short. */
  readonly parts: { readonly encode: readonly string[]; readonly sample: readonly string[] };
  /** `noise`, or `previous`: it goes on with the noisy latents of the stage before (SDXL's refiner). */
  readonly start: 'noise' | 'previous';
  /** What its makers say where that differs from the pipeline's `defaults`. */
  readonly defaults?: StageDefaults;
  /** The noise that the run starts from is drawn before what `encode` draws, not after it. */
  readonly noiseBeforeConditions?: boolean;
  /** Image to image spreads all steps over the strength where the sampler can, as LatentConsistencyModelImg2ImgPipeline of diffusers does. */
  readonly spreadsStrength?: boolean;
  /** The highest `noiseLevel` of the picture that it is conditioned on; absent where it is conditioned on none, or the request's limit holds. */
  readonly maxNoiseLevel?: number;
  /** The noise ratio sigma / alpha at which the stage before is to stop (truncated conditioning); null: it goes to its end. */
  stopsPrevious?(settings: Settings): number | null;
  /** Height, width and channels of x for the settings. */
  shape(settings: Settings): readonly [height: number, width: number, channels: number];
  /** Tokens of the picture, where the schedule depends on them (FLUX). */
  tokens?(settings: Settings): number;
  /** Conditions of a batch; the caller disposes them. */
  encode(batch: Batch, context: EncodeContext): EncodedBatch<C> | Promise<EncodedBatch<C>>;
  network(context: NetworkContext): RunNetwork<C>;
  /** Conditions follow from texts and settings alone: batches whose pictures differ in their seeds only are encoded once. */
  readonly encodesTextOnly?: boolean;
  /** The network is made for inpainting: it sees the mask and the masked picture. */
  readonly seesMask?: boolean;
  /** The network itself, whose layers guidance may disturb by path. */
  readonly module?: Pick<Module, 'modules'>;
  /** False for a model whose `encode` gives no negative conditions, whatever the request; true when absent. */
  readonly negatives?: boolean;
  /** The scale of classifier-free guidance, where that is not the setting `guidance`. */
  guidanceScale?(settings: Settings): number;
  /** Channels that classifier-free guidance moves, the first ones; all when absent. DiT's code guides 3 of 4. */
  readonly guidedChannels?: number | undefined;
  /** Guidance of a run, where it is not `free` alone; undefined for none. */
  guide?(context: GuideContext<C>): Guide<C> | undefined;
  /** What moves estimates after they were clipped: a classifier's gradient. Undefined for nothing. */
  after?(context: Omit<GuideContext<C>, 'free' | 'negative'>): AfterLimit<C> | undefined;
  /** Pictures start from `ceil`(steps strength) steps, not `floor`: what diffusers' pipelines of SD3 and FLUX do. */
  readonly strengthRounds?: 'floor' | 'ceil';
  /** Both passes of guidance are one, over a batch of twice the size: faster for small networks, more memory. */
  readonly batchesGuidance?: boolean;
}

/** A module with weights that may be loaded and freed. */
export interface Part {
  /** Its name in folders of diffusers: `unet`, `vae`, `text_encoder`. */
  readonly name: string;
  readonly module: Module;
  /** Its tensors under the module's own keys; only their headers are read until it is loaded. */
  readonly weights: WeightSource;
  /** What LoRA files call it, where they can change it. */
  readonly lora?: LoraModelName;
}

/** A model as a family opens it: nothing is read but headers and configurations. */
export interface PipelineDefinition {
  /** The family's name. */
  readonly family: string;
  /** What it was taken for and why, in a line for people. */
  readonly description: string;
  readonly stages: readonly Stage[];
  readonly parts: readonly Part[];
  /** The settings that it takes beside the common ones. */
  readonly takes: readonly RequestKey[];
  /** What the model's makers say: size, steps, guidance and whatever else. */
  readonly defaults: Request & { readonly height: number; readonly width: number; readonly steps: number };
  /** What `image` is to this model: the picture that a run starts from (when absent), or one that it is conditioned on. */
  readonly imageIs?: 'start' | 'condition';
  /** Pixels of the result for one of the image, along a side; 1 when absent. */
  readonly enlarges?: number;
  /** What height and width are multiples of, in pixels; the codec's downscale when absent. */
  readonly sizeUnit?: number;
  /** The largest height and width that the network takes, in pixels; no limit when absent. */
  readonly maxSize?: number;
  /** Names of the classes, where `labels` are taken. */
  readonly classes?: readonly string[];
  /** What is wrong with settings that the schema cannot know; each a line. */
  check?(settings: Settings): readonly string[];
  /** Tensors of one file that no part needs, and why. */
  readonly dropped?: readonly Dropped[];
  /** Lines that a user should see, such as what was left out. */
  readonly notes?: readonly string[];
  /** Closes the files. */
  close(): void;
}
