import { createHash } from 'node:crypto';
import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type HostTensor, type Module, sizeOf, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UNet2D, UNet2DCondition, unet2dConditionFromDiffusers, unet2dFromDiffusers } from '../src/index.js';
import { readJson, relativeError } from './support/golden.js';

interface Case {
  readonly config: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly tensors: string;
  readonly out: readonly number[];
}

type Kind = 'UNet2DConditionModel' | 'UNet2DModel';

const golden = readJson('settings.json') as Record<Kind, Record<string, Case>> & {
  base: Record<Kind, Case['config']>;
};

const engines = await testEngines();

/** Weights as unet_settings.py draws them: by name, then the inputs from the same generator. */
function weights(model: Module, rng: TorchGenerator): { state: Record<string, HostTensor>; sha256: string } {
  const state: Record<string, HostTensor> = {};
  const sha = createHash('sha256');
  const params = [...model.params()].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, { fileShape: shape, size }] of params) {
    sha.update(`${name} ${shape}\n`);
    const isScale = name.includes('norm') && name.endsWith('weight');
    const ofRow = 0.7 / Math.sqrt(sizeOf(shape.slice(1)));
    const data = rng.randn(size).map((n) => (shape.length > 1 ? ofRow * n : isScale ? 1 + 0.1 * n : 0.1 * n));
    state[name] = { shape, data };
  }
  return { state, sha256: sha.digest('hex') };
}

/** The inputs that a configuration asks for, in the script's order. */
function inputs(config: Case['config'], rng: TorchGenerator) {
  const drawn = (...shape: number[]) => tf.tensor(rng.randn(sizeOf(shape)), shape);
  const x = tf.transpose(drawn(2, 2, 4, 4), [0, 2, 3, 1]) as tf.Tensor4D;
  const more: Record<string, tf.Tensor> = {};
  if ('cross_attention_dim' in config) more.context = drawn(2, 3, (config.encoder_hid_dim as number | undefined) ?? 12);
  const kind = config.class_embed_type as string | undefined;
  const width = (config.time_embedding_dim as number) ?? 4 * (config.block_out_channels as number[])[0]!;
  if (kind === 'timestep') more.labels = tf.tensor1d([3, 500]);
  else if (kind !== undefined) more.vector = drawn(2, kind.endsWith('projection') ? 6 : width);
  else if (config.num_class_embeds !== undefined) more.labels = tf.tensor1d([1, 4], 'int32');
  if (config.time_cond_proj_dim !== undefined) more.timeCondition = drawn(2, config.time_cond_proj_dim as number);
  if (config.addition_embed_type === 'text_time') {
    more.pooled = drawn(2, 10);
    more.timeIds = tf.tensor2d([64, 48, 0, 8, 64, 64, 1024, 768, 16, 0, 1024, 1024], [2, 6]);
  }
  return { x, time: tf.tensor1d([7, 901]), more };
}

beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

/** Settings whose numbers come from operations that others do not use; the rest differs in shapes alone. */
const OWN_OPERATIONS =
  /mish|relu|gelu|random frequencies|scale and shift|residual blocks between|uneven|IF|pooled text/;

describe.each(engines)('on %s', (engine) => {
  beforeEach(() => switchTo(engine));
  const cases = (kind: Kind) =>
    Object.entries(golden[kind]).filter(([title]) => engine === engines[0] || OWN_OPERATIONS.test(title));

  /** Weights, names and shapes, numbers and memory of a model that takes these settings, as diffusers has them. */
  async function expectLike(
    { seed, tensors, out: expected }: Case,
    json: Case['config'],
    model: Module,
    run: (x: tf.Tensor4D, time: tf.Tensor1D, more: Record<string, tf.Tensor>) => tf.Tensor4D,
  ): Promise<void> {
    const rng = new TorchGenerator(seed);
    const { state, sha256 } = weights(model, rng);
    expect(sha256).toBe(tensors);
    await model.load(state);
    const { x, time, more } = inputs(json, rng);
    const before = tf.memory().numTensors;
    const out = run(x, time, more);
    expect(tf.memory().numTensors).toBe(before + 1);
    // float32 on both sides: rounding of some 50 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
    expect(relativeError(out.dataSync(), Float32Array.from(expected))).toBeLessThan(1e-4);
    model.dispose();
  }

  test.each(cases('UNet2DConditionModel'))('the conditional UNet as diffusers has it: %s', async (_, want) => {
    const json = { ...golden.base.UNet2DConditionModel, ...want.config };
    const model = new UNet2DCondition(unet2dConditionFromDiffusers(json));
    await expectLike(want, json, model, (x, time, more) => model.forward(x, time, more as { context: tf.Tensor3D }));
  });

  test.each(cases('UNet2DModel'))("DDPM's UNet as diffusers has it: %s", async (_, want) => {
    const json = { ...golden.base.UNet2DModel, ...want.config };
    const model = new UNet2D(unet2dFromDiffusers(json));
    await expectLike(want, json, model, (x, time, more) => model.forward(x, time, more));
  });
});
