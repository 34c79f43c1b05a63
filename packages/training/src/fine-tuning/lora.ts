import {
  constant,
  type HostTensor,
  InvalidArgumentError,
  Module,
  Param,
  type Seed,
  type StateDict,
  sizeOf,
  uniform,
  withoutGradient,
  zeros,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { withWeights } from '../averages/average.js';
import { matchesPattern } from '../trainable-params.js';

/** A low-rank adapter. */
export interface LoraOptions {
  /** Rank of every change. */
  readonly rank: number;
  /** The change counts alpha / rank; the rank when absent. */
  readonly alpha?: number;
  /**
   * Paths of the linear and convolution layers that are changed, `*` for any text: `*attn*` and the like. Every layer of these
   * kinds when absent.
   */
  readonly targets?: readonly string[];
  /** Learns the lengths of the rows apart from their directions: DoRA (Liu et al. 2024). Default false. */
  readonly dora?: boolean;
}

/**
 * Low-rank changes of a frozen model's linear and convolution layers: W' = W + alpha / rank B A (Hu et al. 2021, eq. 3), with
 * DoRA m (W + alpha / rank B A) / ||W + alpha / rank B A|| by rows (Liu et al. 2024, eq. 5, the norm a constant to the
 * gradient). Its state dict is that of peft: `base_model.model.<layer>.lora_A.weight` and `.lora_B.weight`.
 *
 * `init` draws A as PyTorch draws a linear layer, and B as zeros: the model begins as it was. Train its parameters (`adamW(lora)`)
 * by a loss that runs inside `apply`; the model's own get no gradient.
 */
export class LoraAdapter extends Module {
  readonly base_model: { readonly model: Readonly<Record<string, LoraLayer>> };
  readonly options: Readonly<Required<Omit<LoraOptions, 'targets'>>>;

  /** @throws InvalidArgumentError when a target fits no layer, or a number is out of range */
  constructor(model: Module, { rank, alpha = rank, targets = ['*'], dora = false }: LoraOptions) {
    super();
    const problems: string[] = [];
    if (!Number.isSafeInteger(rank) || rank < 1) problems.push(`rank must be an integer of at least 1, got ${rank}`);
    if (!(alpha > 0)) problems.push(`alpha must be above 0, got ${alpha}`);
    const layers = adaptable(model);
    for (const target of targets) {
      if (layers.some(({ path }) => matchesPattern(path, target))) continue;
      const some = layers.slice(0, 5).map(({ path }) => path);
      problems.push(
        `the target '${target}' fits no linear or convolution layer; there are ${layers.length}: ${some.join(', ')}, …`,
      );
    }
    if (problems.length > 0) throw new InvalidArgumentError('LoraAdapter', problems);
    this.options = { rank, alpha, dora };
    const chosen = layers.filter(({ path }) => targets.some((target) => matchesPattern(path, target)));
    this.base_model = {
      model: Object.fromEntries(chosen.map((layer) => [layer.path, new LoraLayer(layer, rank, alpha / rank, dora)])),
    };
  }

  /** The changed layers by path. */
  get layers(): ReadonlyMap<string, LoraLayer> {
    return new Map(Object.entries(this.base_model.model));
  }

  /** Draws A, sets B to zero, and takes DoRA's lengths from the model's weights, which it must have. */
  override init(seed: Seed): this {
    super.init(seed);
    for (const layer of this.layers.values()) layer.takeLengths();
    return this;
  }

  /** Runs `body`, which must be synchronous, with the changed weights in the model; gradients reach the adapter through them. */
  apply<T>(body: () => T): T {
    return Param.substituteAll(
      [...this.layers.values()].map((layer) => [layer.of, layer.effective()] as const),
      body,
    );
  }

  /** Runs `body` while the model's own variables hold the changed weights: to sample or save it as one model. */
  withMergedWeights<T>(body: () => T | Promise<T>): Promise<T> {
    const layers = this.layers;
    const params = new Map([...layers].map(([path, layer]) => [path, layer.of]));
    return withWeights(params, (path) => tf.tidy(() => layers.get(path)!.effective()), body);
  }
}

/** The change of one layer. */
export class LoraLayer extends Module {
  readonly lora_A: { readonly weight: Param };
  readonly lora_B: { readonly weight: Param };
  readonly lora_magnitude_vector?: Param;
  readonly #of: Param;
  readonly #inputAxes: readonly number[];
  readonly #scale: number;

  constructor({ weight: of, inputAxes }: AdaptableLayer, rank: number, scale: number, dora: boolean) {
    super();
    this.#of = of;
    this.#inputAxes = inputAxes;
    this.#scale = scale;
    const conv = of.layout === 'conv2d';
    const fanIn = sizeOf(inputAxes.map((axis) => of.shape[axis]!));
    const outputs = of.size / fanIn;
    const down = { init: uniform(1 / Math.sqrt(fanIn)), layout: of.layout };
    this.lora_A = { weight: new Param(conv ? [...of.shape.slice(0, 3), rank] : [rank, fanIn], down) };
    this.lora_B = {
      weight: new Param(conv ? [1, 1, rank, outputs] : [outputs, rank], { init: zeros, layout: of.layout }),
    };
    if (dora) {
      // peft writes [out] for linear layers, and [1, out, 1, 1] or [1, out, 1] for convolutions.
      const kernel = this.lora_B.weight.fileShape.slice(2);
      const shape = kernel.length > 0 ? [1, outputs, ...kernel] : [outputs];
      this.lora_magnitude_vector = new Param(shape, { init: constant(1) });
    }
  }

  /** The weight that it changes. */
  get of(): Param {
    return this.#of;
  }

  /** alpha / rank */
  get scale(): number {
    return this.#scale;
  }

  /** DoRA's lengths as those of the weight's rows. */
  takeLengths(): void {
    if (this.lora_magnitude_vector === undefined) return;
    const lengths = tf.tidy(() =>
      tf.reshape(rowLengths(this.#of.variable, this.#inputAxes), this.lora_magnitude_vector!.shape as number[]),
    );
    this.lora_magnitude_vector.variable.assign(lengths);
    lengths.dispose();
  }

  /** W', in the memory layout of the weight; a new tensor. */
  effective(): tf.Tensor {
    return tf.tidy(() => {
      const [a, b] = [this.lora_A.weight.value, this.lora_B.weight.value];
      const conv = this.#of.layout === 'conv2d';
      const [rank, outputs] = [a.shape[conv ? 3 : 0]!, b.shape[conv ? 3 : 0]!];
      const product = conv
        ? tf.matMul(tf.reshape(a, [-1, rank]), tf.reshape(b, [rank, outputs])) // [k k in, out]
        : this.#inputAxes[0] === 0
          ? tf.transpose(tf.matMul(b as tf.Tensor2D, a as tf.Tensor2D)) //        [in, out]
          : tf.matMul(b as tf.Tensor2D, a as tf.Tensor2D); //                     [out, in]
      const change = tf.mul(tf.reshape(product, [...this.#of.shape]), this.#scale);
      const sum = tf.add(this.#of.value, change);
      if (this.lora_magnitude_vector === undefined) return sum;
      const lengths = withoutGradient(() => rowLengths(sum, this.#inputAxes));
      const wanted = tf.reshape(this.lora_magnitude_vector.value, lengths.shape);
      return tf.mul(sum, tf.div(wanted, lengths));
    });
  }
}

/** ||W|| of each output, `[out, 1]`, or `[1, 1, 1, out]` for convolutions. */
function rowLengths(weight: tf.Tensor, inputAxes: readonly number[]): tf.Tensor {
  return tf.sqrt(tf.sum(tf.square(weight), [...inputAxes], true));
}

/** A linear or convolution layer that an adapter can change. */
export interface AdaptableLayer {
  /** Where it is in the model. */
  readonly path: string;
  readonly weight: Param;
  /** The axes of the weight in memory that are inputs (and kernel); the others are outputs. */
  readonly inputAxes: readonly number[];
}

/**
 * The linear and convolution layers of a model: modules that hold a `weight` of two axes in memory or of four in a convolution's layout,
 * or a `kernel` with Keras's axes, inputs first, beside its `bias`.
 */
function adaptable(model: Module): AdaptableLayer[] {
  return [...model.modules()].flatMap(([path, module]): AdaptableLayer[] => {
    const { weight, kernel, bias } = module as { weight?: unknown; kernel?: unknown; bias?: unknown };
    if (path === '') return [];
    if (Param.isInstance(weight)) {
      if (weight.layout === 'conv2d') return [{ path, weight, inputAxes: [0, 1, 2] }];
      return weight.shape.length === 2 && !isTable(module) ? [{ path, weight, inputAxes: [1] }] : [];
    }
    if (!Param.isInstance(kernel) || !Param.isInstance(bias)) return [];
    const inputs = kernel.shape.slice(0, kernel.shape.length - bias.shape.length);
    return [{ path, weight: kernel, inputAxes: inputs.map((_, axis) => axis) }];
  });
}

/** The paths of the layers that a `LoraAdapter` of the model could change. */
export function adaptableLayers(model: Module): string[] {
  return adaptable(model).map(({ path }) => path);
}

/** Embedding tables look like linear layers by their shape; they have no `bias` field. */
function isTable(module: Module): boolean {
  return !('bias' in module);
}

/** How a LoRA file names layers. `peft`: peft's own; `diffusers`: what its pipelines load; `kohya`: sd-scripts' and most tools'. */
export type LoraLayout = 'peft' | 'diffusers' | 'kohya';

/** Where a layer is in the file that is written. */
export interface LoraFileOptions {
  readonly layout: LoraLayout;
  /** The model in the file's names: `unet` (default), `transformer`, `text_encoder`, `text_encoder_2`. */
  readonly model?: 'unet' | 'transformer' | 'text_encoder' | 'text_encoder_2';
  /**
   * Names of a layer in the file, where the file's model is spelled another way. Several names are rows of our layer, in order
   * (`qkv` as `to_q`, `to_k`, `to_v`), each with its number of rows.
   */
  readonly rename?: (path: string) => readonly { readonly path: string; readonly rows: number }[];
}

const kohyaModels = {
  unet: 'lora_unet',
  transformer: 'lora_unet',
  text_encoder: 'lora_te',
  text_encoder_2: 'lora_te2',
};

/**
 * The adapter as a file's tensors. In kohya's layout each layer has its `alpha`; in diffusers' alpha / rank is multiplied into B,
 * so that no reader can miss it; peft's keeps it in `adapter_config.json` (`loraConfig`).
 *
 * @throws InvalidArgumentError when a layer of DoRA would have to be split
 */
export async function loraStateDict(
  adapter: LoraAdapter,
  { layout, model = 'unet', rename = (path) => [{ path, rows: -1 }] }: LoraFileOptions,
): Promise<StateDict> {
  const tensors: Record<string, HostTensor> = {};
  for (const [own, layer] of adapter.layers) {
    const down = await layer.lora_A.weight.toHost();
    const up = await layer.lora_B.weight.toHost();
    const lengths = await layer.lora_magnitude_vector?.toHost();
    let row = 0;
    for (const { path, rows } of rename(own)) {
      const part = rows === -1 ? up : rowsOf(up, row, rows);
      const m = lengths && (rows === -1 ? lengths : rowsOf({ ...lengths, shape: [lengths.data.length] }, row, rows));
      row += rows;
      if (layout === 'kohya') {
        const name = `${kohyaModels[model]}_${path.replaceAll('.', '_')}`;
        tensors[`${name}.lora_down.weight`] = down;
        tensors[`${name}.lora_up.weight`] = part;
        tensors[`${name}.alpha`] = { shape: [], data: Float32Array.of(adapter.options.alpha) };
        if (m)
          tensors[`${name}.dora_scale`] = { shape: [m.data.length, ...part.shape.slice(1).map(() => 1)], data: m.data };
      } else {
        const scaled =
          layout === 'diffusers' ? { ...part, data: Float32Array.from(part.data, (x) => x * layer.scale) } : part;
        const name = layout === 'peft' ? `base_model.model.${path}` : `${model}.${path}`;
        tensors[`${name}.lora_A.weight`] = down;
        tensors[`${name}.lora_B.weight`] = scaled;
        if (m) tensors[`${name}.lora_magnitude_vector`] = m;
      }
    }
  }
  return tensors;
}

/** Rows of a tensor along its first axis. */
function rowsOf({ shape, data }: HostTensor, first: number, count: number): HostTensor {
  const size = data.length / shape[0]!;
  return { shape: [count, ...shape.slice(1)], data: data.slice(first * size, (first + count) * size) };
}

/** `adapter_config.json` of a peft folder, whose other file is `adapter_model.safetensors`. */
export function loraConfig(adapter: LoraAdapter): Readonly<Record<string, unknown>> {
  const { rank, alpha, dora } = adapter.options;
  return {
    peft_type: 'LORA',
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    use_dora: dora,
    bias: 'none',
    target_modules: [...adapter.layers.keys()],
    init_lora_weights: true,
    inference_mode: true,
    fan_in_fan_out: false,
  };
}
