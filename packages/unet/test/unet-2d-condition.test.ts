import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { productsSaved } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  sd15,
  sd21,
  sdxlBase,
  sdxlRefiner,
  UNet2DCondition,
  type UNet2DConditionConfig,
  type UNet2DConditionInputs,
  unet2dConditionFromDiffusers,
} from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';
import { randomise, tinyUNet2DCondition as tiny, tinyDeepFloyd } from './support/tiny.js';

const engines = await testEngines();

/** All inputs of the tiny network for a batch of two; a new draw each time it is called. */
function inputs(rng = new TorchGenerator(4)) {
  const x = tf.tensor4d(rng.randn(2 * 8 * 8 * 2), [2, 8, 8, 2]);
  const time = tf.tensor1d([5, 300]);
  const conditions: Required<Omit<UNet2DConditionInputs, 'rng' | 'vector'>> = {
    context: tf.tensor3d(rng.randn(2 * 3 * 6), [2, 3, 6]),
    pooled: tf.tensor2d(rng.randn(2 * 5), [2, 5]),
    timeIds: tf.tensor2d([64, 64, 0, 8], [2, 2]),
    timeCondition: tf.tensor2d(rng.randn(2 * 3), [2, 3]),
    labels: tf.tensor1d([0, 2], 'int32'),
  };
  return { x, time, conditions };
}

beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

describe.each(engines)('on %s, the outputs of diffusers’ UNet2DConditionModel', (engine) => {
  beforeEach(() => switchTo(engine));

  // float32 on both sides: rounding of some 50 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
  test.each([
    ['unet2d-condition-odd', 'SD 1: convolutions around the blocks, 7 x 5 pixels'],
    ['unet2d-condition-upscaler', 'SD’s x4 upscaler: only cross-attention, a table of noise levels'],
    ['unet2d-condition-vector', 'vectors as classes, embedded guidance, blocks and heads by level'],
    ['unet2d-condition-xl', 'SDXL: pooled text and six numbers'],
  ])('%s (%s)', async (folder) => {
    const io = readTensors(`${folder}/io.safetensors`);
    const config = unet2dConditionFromDiffusers(readJson(`${folder}/config.json`));
    const model = await new UNet2DCondition(config).load(readTensors(`${folder}/model.safetensors`));
    const names = {
      encoder_hidden_states: 'context',
      text_embeds: 'pooled',
      time_ids: 'timeIds',
      timestep_cond: 'timeCondition',
    };
    const conditions = Object.entries(names).flatMap(([theirs, ours]) => {
      const tensor = io[`in.${theirs}`];
      return tensor === undefined ? [] : [[ours, toTensor(tensor)]];
    });
    const classes = io['in.class_labels'];
    if (classes !== undefined) conditions.push([classes.shape.length === 1 ? 'labels' : 'vector', toTensor(classes)]);
    const x = toTensor(io['in.sample']!) as tf.Tensor4D;
    const time = toTensor(io['in.timestep']!) as tf.Tensor1D;
    const before = tf.memory().numTensors;
    const out = model.forward(x, time, Object.fromEntries(conditions) as UNet2DConditionInputs);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), toTensor(io['out.sample']!).dataSync())).toBeLessThan(1e-4);
    model.dispose();
  });
});

test('every condition reaches the output; those left out of the time condition count as zeros', async () => {
  await switchTo(engines[0]!);
  const model = new UNet2DCondition(tiny);
  await randomise(model);
  const { x, time, conditions } = inputs();
  const other = inputs(new TorchGenerator(9)).conditions;
  const outputOf = (change: Partial<UNet2DConditionInputs>) =>
    model.forward(x, time, { ...conditions, ...change }).dataSync();
  const plain = outputOf({});
  const changes: Partial<UNet2DConditionInputs>[] = [
    { context: other.context },
    { pooled: other.pooled },
    { timeIds: tf.tensor2d([64, 65, 0, 8], [2, 2]) },
    { timeCondition: other.timeCondition },
    { labels: tf.tensor1d([1, 2], 'int32') },
  ];
  // Any change of the input by its own size is far above rounding, 1e-6.
  for (const change of changes)
    expect(relativeError(outputOf(change), plain), Object.keys(change)[0]!).toBeGreaterThan(1e-4);
  const { timeCondition: _, ...rest } = conditions;
  const without = model.forward(x, time, rest).dataSync();
  expect(relativeError(without, outputOf({ timeCondition: tf.zeros([2, 3]) }))).toBeLessThan(1e-6);
  model.dispose();
});

test('images of a batch do not see each other', async () => {
  await switchTo(engines[0]!);
  const model = new UNet2DCondition(tiny);
  await randomise(model);
  const { x, time, conditions } = inputs();
  const both = model.forward(x, time, conditions);
  const first = <T extends tf.Tensor>(t: T) => tf.slice(t, 0, 1) as T;
  const one = model.forward(first(x), first(time), {
    context: first(conditions.context),
    pooled: first(conditions.pooled),
    timeIds: first(conditions.timeIds),
    timeCondition: first(conditions.timeCondition),
    labels: first(conditions.labels),
  });
  // The same sums, but matrix products of another size may add in another order.
  expect(relativeError(one.dataSync(), first(both).dataSync())).toBeLessThan(1e-5);
  model.dispose();
});

test('a forward pass names every input that does not fit, and leaves nothing behind', async () => {
  await switchTo(engines[0]!);
  const model = new UNet2DCondition(tiny).init(1);
  const { x, time, conditions } = inputs();
  const before = tf.memory().numTensors;
  const wrong = { ...conditions, context: conditions.pooled as unknown as tf.Tensor3D, vector: conditions.pooled };
  expect(() => model.forward(x, time, { ...wrong, timeIds: conditions.timeCondition })).toThrowError(
    /context: expected \[2, S, 6\], got \[2,5\][\s\S]*vector: this model has no place for it[\s\S]*P \+ 4 K = 13, got \[2,5\] and \[2,3\]/,
  );
  const { labels: _, pooled: __, ...rest } = conditions;
  expect(() => model.forward(x, time, rest)).toThrowError(/labels: expected int32 \[2\][\s\S]*got none and \[2,2\]/);
  expect(tf.memory().numTensors).toBe(before);
  model.dispose();
});

describe('configurations', () => {
  // The settings in the published config.json files that are not the class's defaults.
  const blocks = (flags: string, way: 'Down' | 'Up') =>
    [...flags].map((flag) => `${flag === 'x' ? 'CrossAttn' : ''}${way}Block2D`);
  const xl = { use_linear_projection: true, addition_embed_type: 'text_time', addition_time_embed_dim: 256 };
  const published = {
    sd15: { sample_size: 64, cross_attention_dim: 768, _diffusers_version: '0.6.0', downsample_padding: 1 },
    sd21: {
      sample_size: 96,
      cross_attention_dim: 1024,
      attention_head_dim: [5, 10, 20, 20],
      use_linear_projection: true,
      upcast_attention: true,
      only_cross_attention: false,
    },
    'sdxl-base': {
      ...xl,
      block_out_channels: [320, 640, 1280],
      down_block_types: blocks('-xx', 'Down'),
      up_block_types: blocks('xx-', 'Up'),
      attention_head_dim: [5, 10, 20],
      cross_attention_dim: 2048,
      transformer_layers_per_block: [1, 2, 10],
      projection_class_embeddings_input_dim: 2816,
    },
    'sdxl-refiner': {
      ...xl,
      block_out_channels: [384, 768, 1536, 1536],
      down_block_types: blocks('-xx-', 'Down'),
      up_block_types: blocks('-xx-', 'Up'),
      attention_head_dim: [6, 12, 24, 24],
      cross_attention_dim: 1280,
      transformer_layers_per_block: 4,
      projection_class_embeddings_input_dim: 2560,
    },
  };

  test.each([sd15, sd21, sdxlBase, sdxlRefiner])('$name: diffusers’ file is our preset', ({ name, build }) => {
    const ours = unet2dConditionFromDiffusers(published[name as keyof typeof published]);
    expect(ours).toEqual(build().config);
    expect(JSON.parse(JSON.stringify(ours))).toEqual(ours);
  });

  test('settings that we do not build are named, all of them', () => {
    const read = () =>
      unet2dConditionFromDiffusers({
        attention_type: 'gated',
        num_attention_heads: 8,
        dual_cross_attention: true,
        colour: 'red',
      });
    expect(read).toThrowError(
      /colour: not an argument[\s\S]*num_attention_heads[\s\S]*dual_cross_attention[\s\S]*attention_type/,
    );
    const types = () =>
      unet2dConditionFromDiffusers({
        down_block_types: ['KDownBlock2D'],
        mid_block_type: 'UNetMidBlock2DGated',
        addition_embed_type: 'image',
        encoder_hid_dim_type: 'image_proj',
        class_embed_type: 'text',
        act_fn: 'tanh',
        cross_attention_dim: [8, 16, 16, 16],
        transformer_layers_per_block: [[1, 1], 1, 1, 1],
      });
    expect(types).toThrowError(
      /down_block_types[\s\S]*mid_block_type[\s\S]*class_embed_type[\s\S]*addition_embed_type[\s\S]*encoder_hid_dim_type: expected null or "text_proj", got "image_proj"[\s\S]*act_fn[\s\S]*cross_attention_dim[\s\S]*reverse_transformer_layers_per_block/,
    );
  });

  test.each<[string, Partial<UNet2DConditionConfig>, RegExp]>([
    ['lists of other lengths', { heads: [2], depth: [1, 2, 3] }, /heads: [\s\S]*2 levels, got \[2\][\s\S]*depth: /],
    ['depths out of range', { depth: [1, 1e9] }, /depth: expected a whole number from 0 to 256/],
    ['heads that do not divide', { heads: [3, 4] }, /3 heads do not divide the 8 channels of level 0/],
    ['groups that do not divide', { groups: 3 }, /3 groups do not divide the 8 channels of level 0/],
    ['a table of nothing', { classes: { table: 0 } }, /classes.table: expected a whole number/],
    ['no room for pooled text', { textTime: { numberWidth: 4, width: 4 } }, /more than one number's 4, got 4/],
    [
      'a depth missing for a transformer',
      { depth: [[], 2] },
      /depth: .*for each of a level's transformers, got \[\[\],2\]/,
    ],
    ['one missing on the way up, which has one more', { upDepth: [1, [1]] }, /upDepth: .*got \[1,\[1\]\]/],
    ['even kernels', { kernelIn: 2 }, /kernelIn: expected an odd number of pixels, got 2/],
    [
      'unknown names',
      { activation: 'sine' as 'silu', mid: 'x' as unknown as null },
      /mid: expected[\s\S]*activation: expected/,
    ],
  ])('refused before anything is built: %s', (_, change, message) => {
    expect(() => new UNet2DCondition({ ...tiny, ...change })).toThrowError(message);
  });

  test.each<[string, Partial<UNet2DConditionConfig>, RegExp]>([
    ['no settings of its blocks', { deepfloyd: null }, /deepfloyd: expected settings of its blocks, got null/],
    [
      'heads',
      { deepfloyd: { ...tinyDeepFloyd.deepfloyd!, headChannels: [4, 3] } },
      /heads of 3 channels do not divide/,
    ],
    ['a norm', { contextWidth: 12 }, /contextWidth: expected a multiple of the 32 groups of its norm, got 12/],
    ['pooling', { textPooling: { heads: 4 } }, /4 heads do not divide the 6 channels of the text/],
    ['both texts', { textTime: { numberWidth: 4, width: 13 } }, /textTime and textPooling: expected one of them/],
    ['steps', { downResample: ['conv'] }, /downResample: expected "conv" or "residual" for each of 2 levels/],
  ])("refused of DeepFloyd IF's: %s", (_, change, message) => {
    expect(() => new UNet2DCondition({ ...tinyDeepFloyd, ...change })).toThrowError(message);
  });

  test("sides that DeepFloyd IF's residual steps would not come back to are refused", () => {
    const model = new UNet2DCondition(tinyDeepFloyd).init(1);
    const inputs = { context: tf.zeros([1, 3, 6]) as tf.Tensor3D, labels: tf.tensor1d([0]) };
    expect(() => model.forward(tf.zeros([1, 7, 8, 2]), tf.tensor1d([5]), inputs)).toThrowError(
      /a height and a width that 2 divides, got 7 x 8/,
    );
    model.dispose();
  });
});

test('keys and values of the text are made once a run, and the pooled text of DeepFloyd IF', async () => {
  await switchTo(engines[0]!);
  const { x, conditions } = inputs();
  for (const [config, given, saved] of [
    // Two products for each attention to the text: one block on the way down, two up, and in the middle.
    [{ ...tiny, depth: [1, 1] }, conditions, 'attentions'],
    [tinyDeepFloyd, { context: conditions.context, labels: tf.tensor1d([5, 300]) }, 'attentions and pooling'],
  ] as const) {
    const model = new UNet2DCondition(config as UNet2DConditionConfig);
    await randomise(model);
    const names = [...model.params().keys()];
    const seen = names.filter((name) => /attn2\.to_[kv]\.weight|add_[kv]_proj\.weight/.test(name)).length;
    const only = names.filter((name) => /down_blocks\.0\..*attn1\.to_[kv]\.weight/.test(name)).length;
    const step = (time: number) => () => model.forward(x, tf.tensor1d([time, time]), given as UNet2DConditionInputs);
    const products = await productsSaved([given.context], [step(800), step(300)]);
    if (saved === 'attentions') expect(products).toBe(seen + only);
    // And the map of the text, and the products of its pooling.
    else expect(products).toBeGreaterThan(seen + 1);
  }
});
