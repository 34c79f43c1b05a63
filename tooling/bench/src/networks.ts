import { AutoencoderKL, presets as autoencoders } from '@mezzotint/autoencoders';
import { describe, type InputSpec, type ModelCost, type Module } from '@mezzotint/core';
import { DiT, presets as dits } from '@mezzotint/dit';
import { ADMUNet, UNet2DCondition, presets as unets } from '@mezzotint/unet';
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
  unet: admUNet('bench-unet', 'ADM UNet, 6.95 M parameters, 8x32x32x3', 8, all),
  digits: admUNet('digits', 'the digits UNet, 0.74 M parameters, 64x28x28x1', 64, all),
  'dit-s4': dit('dit-s-4', 'DiT-S/4, 32.9 M parameters, 8x32x32x4', 8, true),
  'dit-xl2': dit('dit-xl-2', 'DiT-XL/2, 675 M random parameters, 1x32x32x4', 1, false),
  sd15: network({
    about: "Stable Diffusion 1.5's UNet, 860 M random parameters, 1x64x64x4, 77 tokens",
    trains: false,
    engines: fast,
    build: () => buildPreset(unets, 'sd15', UNet2DCondition),
    inputs: [{ shape: [1, 64, 64, 4] }, { shape: [1] }, { shape: [1, 77, 768] }],
    run: (model, [x, time, context]) =>
      model.forward(x as tf.Tensor4D, time as tf.Tensor1D, { context: context as tf.Tensor3D }),
  }),
  vae: network({
    about: "Stable Diffusion 1.5's VAE decoder, 49 M random parameters, 1x64x64x4 to 512x512",
    trains: false,
    engines: fast,
    build: () => buildPreset(autoencoders, 'vae-sd', AutoencoderKL),
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

function admUNet(preset: string, about: string, batch: number, engines: readonly string[]): BenchNetwork {
  const build = () => buildPreset(unets, preset, ADMUNet);
  const { imageSize, inChannels, classes } = build().config;
  const labels: InputSpec[] = classes === null ? [] : [{ shape: [batch], dtype: 'int32' }];
  return network({
    ...{ about, trains: true, engines, build },
    inputs: [{ shape: [batch, imageSize, imageSize, inChannels] }, { shape: [batch] }, ...labels],
    run: (model, [x, time, labels]) =>
      model.forward(x as tf.Tensor4D, time as tf.Tensor1D, labels ? { labels: labels as tf.Tensor1D } : {}),
  });
}

function dit(preset: string, about: string, batch: number, trains: boolean): BenchNetwork {
  const build = () => buildPreset(dits, preset, DiT);
  const { imageSize, inChannels } = build().config;
  return network({
    ...{ about, trains, engines: trains ? all : fast, build },
    inputs: [
      { shape: [batch, imageSize, imageSize, inChannels] },
      { shape: [batch] },
      { shape: [batch], dtype: 'int32' },
    ],
    run: (model, [x, time, labels]) =>
      model.forward(x as tf.Tensor4D, time as tf.Tensor1D, { labels: labels as tf.Tensor1D }),
  });
}

/** The model of a preset, which is of the class that its package says. */
function buildPreset<M extends Module>(
  presets: readonly { name: string; build(): Module }[],
  name: string,
  type: abstract new (...args: never[]) => M,
): M {
  const model = presets.find((preset) => preset.name === name)!.build();
  if (!(model instanceof type)) throw new TypeError(`preset '${name}' builds a ${model.constructor.name}`);
  return model;
}

/** Labels are 0, times are spread over (0, 1000), all else is a seeded normal. */
function fill({ shape, dtype }: InputSpec, seed: number): tf.Tensor {
  if (dtype === 'int32') return tf.zeros([...shape], 'int32');
  if (shape.length === 1) return tf.linspace(1, 999, shape[0]!);
  return tf.randomNormal([...shape], 0, 1, 'float32', seed);
}
