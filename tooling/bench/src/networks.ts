import { architectureOfKind, presetNamed } from '@mezzotint/architectures';
import type { AutoencoderKL } from '@mezzotint/autoencoders';
import {
  type DenoisingNetwork,
  describe,
  type InputSpec,
  type ModelCost,
  type Module,
  type NetworkInputs,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** A network with seeded weights on the current engine, and inputs of a fixed batch. */
export interface BuiltNetwork {
  readonly model: Module;
  /** One forward pass; the answer is the caller's. */
  forward(): tf.Tensor;
}

/** A network that engines are timed on. */
export interface BenchNetwork {
  readonly about: string;
  /** Whether a training step is timed too; large networks have none. */
  readonly trains: boolean;
  /** Engines that it is not too large or too slow for. */
  readonly engines: readonly string[];
  /** Parameters and multiply-adds of one forward pass. */
  cost(): ModelCost;
  build(): BuiltNetwork;
}

// The engine cpu takes minutes for a pass; --engines cpu asks for it.
const all = ['tensorflow', 'onnxruntime', 'wasm'];
const fast = ['tensorflow', 'onnxruntime'];

/** What `pnpm bench --network` takes. */
export const networks = {
  unet: registered('bench-unet', 'ADM UNet, 6.95 M parameters, 8x32x32x3', 8),
  digits: registered('digits', 'the digits UNet, 0.74 M parameters, 64x28x28x1', 64),
  'dit-s4': registered('dit-s-4', 'DiT-S/4, 32.9 M parameters, 8x32x32x4', 8),
  'uvit-s4': registered('uvit-s-4-celeba64', 'U-ViT-S/4, 44.3 M parameters, 4x64x64x3', 4, { engines: fast }),
  'rin-cifar10': registered('rin-cifar10', 'RIN of CIFAR-10, 31.0 M parameters, 8x32x32x3', 8, { engines: fast }),
  'zigma-s4': registered('zigma-s-4', 'ZigMa-S/4, 31.4 M parameters, 8x32x32x4', 8, { engines: fast }),
  'simple-diffusion': simpleDiffusion(4),
  'dit-xl2': registered('dit-xl-2', 'DiT-XL/2, 675 M random parameters, 1x32x32x4', 1, { trains: false }),
  sd15: registered('sd15', "Stable Diffusion 1.5's UNet, 860 M random parameters, 1x64x64x4, 77 tokens", 1, {
    trains: false,
  }),
  vae: network({
    about: "Stable Diffusion 1.5's VAE decoder, 49 M random parameters, 1x64x64x4 to 512x512",
    trains: false,
    engines: fast,
    build: () => presetNamed('vae-sd').preset.build() as AutoencoderKL,
    inputs: [{ shape: [1, 64, 64, 4] }],
    run: (model, [z]) => model.decode(z as tf.Tensor4D),
  }),
} as const;

export type NetworkName = keyof typeof networks;

interface Definition<M extends Module> extends Pick<BenchNetwork, 'about' | 'trains' | 'engines'> {
  readonly build: () => M;
  readonly inputs: readonly InputSpec[];
  readonly run: (model: M, inputs: readonly tf.Tensor[]) => tf.Tensor;
}

function network<M extends Module>({ build, inputs, run, ...facts }: Definition<M>): BenchNetwork {
  return {
    ...facts,
    cost: () => describe(build(), inputs, (model, tensors) => run(model, tensors)),
    build() {
      const model = build().init(0);
      const tensors = inputs.map(fill);
      return { model, forward: () => run(model, tensors) };
    },
  };
}

/** A preset of a registered denoiser, with the inputs that its architecture says for a batch. */
function registered(
  name: string,
  about: string,
  batch: number,
  { trains = true, engines = trains ? all : fast }: Partial<Pick<BenchNetwork, 'trains' | 'engines'>> = {},
): BenchNetwork {
  const { preset } = presetNamed(name);
  const [image, , conditions = {}] = preset.inputs() as readonly [InputSpec, InputSpec, Record<string, InputSpec>?];
  const names = Object.keys(conditions);
  const ofBatch = ({ shape, ...rest }: InputSpec): InputSpec => ({ ...rest, shape: [batch, ...shape.slice(1)] });
  return network({
    ...{ about, trains, engines },
    build: () => preset.build() as DenoisingNetwork,
    inputs: [ofBatch(image), { shape: [batch] }, ...names.map((condition) => ofBatch(conditions[condition]!))],
    run: (model, [x, time, ...given]) =>
      model.forward(
        x as tf.Tensor4D,
        time as tf.Tensor1D,
        Object.fromEntries(names.map((condition, i) => [condition, given[i]!])) as NetworkInputs,
      ),
  });
}

/** Simple diffusion's U-ViT in the size `small` for 64x64 pixels and 10 classes. */
function simpleDiffusion(batch: number): BenchNetwork {
  const architecture = architectureOfKind('denoiser', 'SimpleDiffusionUViT');
  const config = architecture.sized!('small', { imageSize: 64, channels: 3, classes: 10 });
  return network({
    ...{ about: `simple diffusion's U-ViT, small, ${batch}x64x64x3`, trains: true, engines: fast },
    build: () => architecture.build(config),
    inputs: [{ shape: [batch, 64, 64, 3] }, { shape: [batch] }, { shape: [batch], dtype: 'int32' }],
    run: (model, [x, time, labels]) =>
      model.forward(x as tf.Tensor4D, time as tf.Tensor1D, { labels: labels as tf.Tensor1D }),
  });
}

/** Labels are 0, times are spread over (0, 1000), all else is a seeded normal. */
function fill({ shape, dtype }: InputSpec, seed: number): tf.Tensor {
  if (dtype === 'int32') return tf.zeros([...shape], 'int32');
  if (shape.length === 1) return tf.linspace(1, 999, shape[0]!);
  return tf.randomNormal([...shape], 0, 1, 'float32', seed);
}
